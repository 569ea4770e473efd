"""A training run on disk: weights, their average, both moments of Adam, and the step. Written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from models.training.config import TrainingConfig
from models.training.ema import Ema

FILE = "checkpoint.safetensors"


def save_checkpoint(
    folder: Path, config: TrainingConfig, step: int, network: nn.Module, ema: Ema[Any], optimiser: AdamW
) -> None:
    """Replaces the run's checkpoint by one after `step` steps."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.shadow.state_dict().items()}
    for parameter, moments in optimiser.state.items():
        tensors |= {f"adam.{key}.{names[parameter]}": value for key, value in moments.items()}
    metadata = {"step": str(step), "config": json.dumps(asdict(config))}
    unfinished = folder / f"{FILE}.tmp"
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, unfinished, metadata)
    os.replace(unfinished, folder / FILE)


def load_checkpoint(folder: Path, network: nn.Module, ema: Ema[Any], optimiser: AdamW) -> int:
    """Fills network, average and optimiser from the run's checkpoint. Returns the steps done: 0 where there is none.

    Raises: RuntimeError if the checkpoint is of another network.
    """
    path = folder / FILE
    if not path.exists():
        return 0
    tensors = load_file(path)
    network.load_state_dict(_section(tensors, "network."))
    ema.shadow.load_state_dict(_section(tensors, "ema."))
    moments = {key: _section(tensors, f"adam.{key}.") for key in ("step", "exp_avg", "exp_avg_sq")}
    for name, parameter in network.named_parameters():
        if name in moments["step"]:
            optimiser.state[parameter] = {
                key: own[name] if key == "step" else torch.empty_like(parameter).copy_(own[name])
                for key, own in moments.items()
            }
    return int(read_metadata(path)["step"])


def read_metadata(path: Path) -> dict[str, str]:
    """The text that a safetensors file carries."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load_ema(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run.

    Raises: FileNotFoundError if the run has no checkpoint.
    """
    return _section(load_file(folder / FILE), "ema.")


def _section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
