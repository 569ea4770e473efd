"""The loop that both stages share: step, average, report, draw a grid, save; and take up again where it stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import AdamW

from models.training.batches import step_generator
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.config import TrainingConfig
from models.training.ema import Ema, Network
from models.training.parallel import Group, average_gradients, wait_for_all

Data = TypeVar("Data")
Report = Callable[[str], None]


class Objective(Protocol[Network, Data]):
    """What is trained, on what, in which processes, and how a person sees whether it works."""

    group: Group
    network: Network
    memory_format: torch.memory_format

    def batches(self, first_step: int) -> Iterator[Data]:
        """The training data from a step on."""

    def losses(self, batch: Data, generator: torch.Generator) -> dict[str, Tensor]:
        """Named scalar losses; `loss` is the one that is minimised."""

    def grid(self, network: Network) -> Image.Image:
        """A picture of what this network (the average) can do now."""


def train(
    objective: Objective[Network, Data],
    config: TrainingConfig,
    folder: Path,
    *,
    device: torch.device,
    report: Report,
) -> Ema[Network]:
    """Trains until config.num_steps, from the folder's checkpoint where there is one. Returns the average.

    A run that was stopped and resumed gives the same weights as one that was not (same machine and threads).
    Of the processes of a group the first writes checkpoint.safetensors, losses.jsonl (of its own rows) and grid-*.png
    into the folder; all need to see it.
    Raises: FloatingPointError when the loss is not finite; the last checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    group = objective.group
    network = objective.network.to(device, memory_format=objective.memory_format)  # type: ignore[call-overload]
    ema = Ema(network, decay=config.ema_decay)
    optimiser = AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )
    first_step = load_checkpoint(folder, network, ema, optimiser)
    if first_step:
        report(f"resuming after step {first_step}")
    progress = Progress(config, folder, first_step, report)
    for step, batch in zip(range(first_step, config.num_steps), objective.batches(first_step), strict=False):
        for options in optimiser.param_groups:
            options["lr"] = learning_rate(config, step)
        autocast = torch.autocast(device.type, torch.bfloat16) if config.bfloat16 else nullcontext()
        with autocast:
            losses = objective.losses(batch, step_generator(config.seed, step, group.rank))
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        average_gradients(network, group)
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        ema.follow(network, step)
        done = step + 1
        if group.is_first:
            progress.note(done, losses)
            if done % config.checkpoint_every == 0 or done == config.num_steps:
                save_checkpoint(folder, config, done, network, ema, optimiser)
            if done % config.grid_every == 0 or done == config.num_steps:
                objective.grid(ema.shadow).save(folder / f"grid-{done:07d}.png")
    wait_for_all(group)
    return ema


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to a hundredth over the planned total."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))


class Progress:
    """One line every few seconds: step, losses, rows a second, time to go; and every loss in losses.jsonl."""

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int, report: Report) -> None:
        self.config, self.report = config, report
        self.path = folder / "losses.jsonl"
        self.sums: dict[str, Tensor] = {}
        self.since_step, self.since = first_step, time.monotonic()

    def note(self, done: int, losses: dict[str, Tensor], *, every: int = 25) -> None:
        """Adds a step; reports every so many. Only then is the device waited for."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value.detach())) + value.detach()
        if done % every and done != self.config.num_steps:
            return
        steps = done - self.since_step
        means = {name: float(total) / steps for name, total in self.sums.items()}
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(f"the loss is {means['loss']} after step {done}; lower learning_rate and resume")
        rate = steps * self.config.batch_size / (time.monotonic() - self.since)
        left_s = (self.config.num_steps - done) * self.config.batch_size / rate
        words = " ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        self.report(f"step {done}/{self.config.num_steps}  {words}  {rate:.1f} rows/s  {left_s / 60:.1f} min to go")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": done, "rows_per_s": round(rate, 2), **means}) + "\n")
        self.sums, self.since_step, self.since = {}, done, time.monotonic()
