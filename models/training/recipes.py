"""Every kind of run from config file to folder: what `darkroom-models train` runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from models.checkpoints.components import load_autoencoder
from models.checkpoints.diffusers import load_folder
from models.checkpoints.writing import save_autoencoder
from models.evaluation.classifier import save_classifier
from models.pipeline import Pipeline
from models.training.autoencoder import AutoencoderObjective, measure_psnr, rescale_latents, whiten_latents
from models.training.checkpoint import load_ema
from models.training.classifier import ClassifierObjective, measure_accuracy
from models.training.config import (
    AutoencoderTraining,
    ClassifierTraining,
    DiffusionTraining,
    EndToEndTraining,
    SuperResolutionTraining,
    read_config,
)
from models.training.diffusion import DiffusionObjective
from models.training.end_to_end import EndToEndObjective
from models.training.export import export
from models.training.loop import Report, train
from models.training.parallel import ALONE, Group
from models.training.super_resolution import SuperResolutionObjective

PICTURES_FOR_STATISTICS = 64
UPSCALERS_SCALING_FACTOR = 0.08333
"""diffusers' upscaler takes every autoencoder for one that says so."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run lies, on what it runs, and where it starts: another run's averaged weights, or a model's folder."""

    folder: Path
    device: torch.device
    report: Report
    start: Path | None = None
    group: Group = ALONE


def train_autoencoder(config_file: Path, run: Run) -> float:
    """Stage 1 into RUN/vae, its latents whitened. Returns the PSNR on held-out pictures in dB.

    Raises: ValueError for a config that is wrong; FileNotFoundError if the start has no checkpoint.
    """
    config = read_config(config_file, AutoencoderTraining)
    objective = AutoencoderObjective(config, run.device, group=run.group)
    _start_from(objective.network, run.start)
    best = train(objective, config, run.folder, device=run.device, report=run.report).shadow
    source = objective.source
    whiten_latents(best, source.draw(0, PICTURES_FOR_STATISTICS).images.to(run.device))
    if run.group.is_first:
        save_autoencoder(best, run.folder / "vae", size=config.size, dtype=torch.float32)
    held_out = source.draw(0, PICTURES_FOR_STATISTICS, split="held_out").images.to(run.device)
    return measure_psnr(best, held_out)


def train_diffusion(config_file: Path, run: Run, autoencoder: Path | None, *, name: str) -> None:
    """Stage 2 into RUN/NAME, a diffusers folder in float16.

    From a model's folder its networks and schedule are trained further, on its autoencoder unless another is given.
    Raises: ValueError for a config that is wrong, or where there is no autoencoder; FileNotFoundError if the start is
    neither a run nor a model; CheckpointError for a folder that cannot be loaded.
    """
    config = read_config(config_file, DiffusionTraining)
    model = _model_in(run.start, run.device)
    if autoencoder is not None:
        eyes = load_autoencoder(autoencoder, device=run.device, dtype=torch.float32)
    elif model is not None:
        eyes = model.autoencoder
    else:
        raise ValueError("an autoencoder must be given, unless a model is trained further")
    objective = DiffusionObjective(config, eyes, run.device, base=model, group=run.group)
    if model is None:
        _start_from(objective.network, run.start)
    best = train(objective, config, run.folder, device=run.device, report=run.report).shadow
    if run.group.is_first:
        export(objective.pipeline(best, name), objective.source.draw(0, PICTURES_FOR_STATISTICS), run.folder / name)


def train_super_resolution(config_file: Path, run: Run, autoencoder: Path, *, name: str) -> None:
    """An upscaler into RUN/NAME, a diffusers folder in float16. Raises: as `train_diffusion`."""
    config = read_config(config_file, SuperResolutionTraining)
    loaded = load_autoencoder(autoencoder, device=run.device, dtype=torch.float32)
    objective = SuperResolutionObjective(config, loaded, run.device, group=run.group)
    _start_from(objective.network, run.start)
    best = train(objective, config, run.folder, device=run.device, report=run.report).shadow
    if run.group.is_first:
        export(objective.pipeline(best, name), objective.source.draw(0, PICTURES_FOR_STATISTICS), run.folder / name)


def train_end_to_end(config_file: Path, run: Run, *, name: str) -> None:
    """The upscaler of `run.start`, trained further from end to end, into RUN/NAME.

    Raises: ValueError for a config that is wrong, or a start that is no upscaler's folder; CheckpointError for a
    folder that cannot be loaded.
    """
    config = read_config(config_file, EndToEndTraining)
    upscaler = _model_in(run.start, run.device)
    if upscaler is None:
        raise ValueError("--from must name the folder of an upscaler")
    objective = EndToEndObjective(config, upscaler, run.device, group=run.group)
    best = train(objective, config, run.folder, device=run.device, report=run.report).shadow
    if run.group.is_first:
        pictures = objective.source.draw(0, PICTURES_FOR_STATISTICS)
        # One step is what half of its estimates were: more invent more, and come less near to the truth.
        card = replace(upscaler.card, name=name, default_steps=1)
        rescale_latents(best.autoencoder, UPSCALERS_SCALING_FACTOR)
        export(replace(objective.pipeline(best), card=card), pictures, run.folder / name)


def train_classifier(config_file: Path, run: Run) -> float:
    """The judge of distributions into RUN/classifier.safetensors. Returns the share of fresh scenes that it names.

    Raises: as `train_autoencoder`.
    """
    config = read_config(config_file, ClassifierTraining)
    objective = ClassifierObjective(config, run.device, group=run.group)
    _start_from(objective.network, run.start)
    best = train(objective, config, run.folder, device=run.device, report=run.report).shadow
    if run.group.is_first:
        save_classifier(best, run.folder / "classifier.safetensors")
    return measure_accuracy(objective, best)


def _model_in(start: Path | None, device: torch.device) -> Pipeline | None:
    """The model in a folder; None for the folder of a run."""
    if start is None or not (start / "model_index.json").is_file():
        return None
    return load_folder(start, device=device, dtype=torch.float32)


def _start_from(network: nn.Module, start: Path | None) -> None:
    if start is not None:
        network.load_state_dict(load_ema(start))
