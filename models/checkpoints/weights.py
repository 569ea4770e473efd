"""Weights from safetensors files into networks, strictly: every key mapped, every shape checked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.errors import CheckpointError

PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a component: one, or the shards that its index lists. float32 before float16 variants.

    Raises: CheckpointError if there are none, or only pickles, or an index that points outside the folder.
    """
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    for name in (f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"):
        if (folder / name).is_file():
            shards = sorted(set(read_json(folder / name).get("weight_map", {}).values()))
            if not shards or any(not isinstance(shard, str) or Path(shard).name != shard for shard in shards):
                raise CheckpointError(f"{folder / name} must list shards that lie beside it, got {shards[:5]}")
            return [folder / shard for shard in shards]
    pickles = sorted(path.name for path in folder.glob(f"{stem}*") if path.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder} holds only {pickles[0]}, a pickle, and loading a pickle runs whatever code it contains; "
            "convert it to safetensors first"
        )
    raise CheckpointError(f"{folder} holds no {stem}.safetensors")


def load_weights(
    network: nn.Module, files: Iterable[Path], *, prefix: str = "", ignore: frozenset[str] = frozenset()
) -> None:
    """Fills a network on the meta device or a real one from files; each tensor keeps the network's dtype and device.

    `prefix` is taken off a key that has it; `ignore` names keys that files may have and networks do not need.
    Raises: CheckpointError listing up to five keys that are missing, unknown or of another shape.
    """
    wanted = dict(network.state_dict(keep_vars=True))
    problems: list[str] = []
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for stored_key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                    key = stored_key.removeprefix(prefix)
                    if key in ignore:
                        continue
                    target = wanted.pop(key, None)
                    if target is None:
                        problems.append(f"unknown {key}")
                    elif tuple(target.shape) != tuple(file.get_slice(stored_key).get_shape()):
                        stored = tuple(file.get_slice(stored_key).get_shape())
                        problems.append(f"{key} is {stored}, should be {tuple(target.shape)}")
                    else:
                        _fill(target, file.get_tensor(stored_key))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    problems += [f"missing {key}" for key in wanted]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"the weights do not fit the config: {'; '.join(problems[:5])}{more}")


@torch.no_grad()
def _fill(target: Tensor, stored: Tensor) -> None:
    """Copies a stored tensor into a parameter, converted to the parameter's dtype."""
    target.copy_(stored)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file.

    Raises: CheckpointError if there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value
