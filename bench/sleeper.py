"""A model that computes nothing: it sleeps for each step, or not even that.  What is left is the service itself.

    python -m bench.sleeper ENTRY.json STEP_S

works as a worker with it; the settings come from the environment, as they do for `python -m worker`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.settings import load_settings
from worker.__main__ import configure_logging, run
from worker.engine import AllHere

if TYPE_CHECKING:
    from models import Pipeline, TextToImage
    from worker.crew import Studio

CELL = 8

StepSeconds = Callable[["TextToImage"], float]

ENTRY = CatalogueEntry(
    name="sleeper",
    revision="r1",
    tasks=["text_to_image"],
    native_width=128,
    native_height=128,
    min_side=64,
    max_side=512,
    multiple=8,
    samplers=["ddim"],
    defaults=ModelDefaults(steps=25, guidance_scale=5.0, sampler="ddim"),
    parameters=0,
    licence="MIT",
    fingerprint="sleeper",
)
"""What the catalogue is told of it."""


@dataclass
class SleepingRow:
    """One image on its way, as the engine knows it."""

    index: int
    seed: int
    num_steps: int
    request: TextToImage
    step: int = 0
    x0: np.ndarray | None = None

    @property
    def reproducible(self) -> bool:
        """Whether it takes its steps alone."""
        return self.request.reproducible

    @property
    def bucket(self) -> tuple[int, int]:
        """Its size."""
        return self.request.width or 0, self.request.height or 0

    @property
    def is_done(self) -> bool:
        """Whether it has no more steps to take."""
        return self.step >= self.num_steps


class SleepingPipeline:
    """Has the interface of `models.Pipeline` as far as the worker needs it; a step takes what `step_s` says."""

    def __init__(self, step_s: StepSeconds) -> None:
        """Sleep for `step_s(request)` seconds a step."""
        self._step_s = step_s

    def begin(self, request: TextToImage) -> list[SleepingRow]:
        """A row for each image."""
        steps = request.num_steps or ENTRY.defaults.steps
        numbers = range(request.num_images)
        return [SleepingRow(number, (request.seed + number) % 2**32, steps, request) for number in numbers]

    def step(self, rows: Sequence[SleepingRow]) -> None:
        """One step of all of them, as long as that of the slowest."""
        wait_s = max(self._step_s(row.request) for row in rows)
        if wait_s > 0:
            time.sleep(wait_s)
        for row in rows:
            row.step += 1
            width, height = row.bucket
            row.x0 = np.zeros((height // CELL, width // CELL, 3), np.uint8)

    def finish(self, row: SleepingRow) -> np.ndarray:
        """A black picture."""
        width, height = row.bucket
        return np.zeros((height, width, 3), np.uint8)

    def preview(self, x0: np.ndarray) -> np.ndarray:
        """A small black picture."""
        return x0


class SleepingStudio:
    """Serves one sleeping pipeline."""

    max_rows = 1

    def __init__(self, entry: CatalogueEntry, step_s: StepSeconds) -> None:
        """Serve it as `entry`."""
        self.entries: Sequence[CatalogueEntry] = [entry]
        self.facts: Mapping[str, Any] = {"pid": os.getpid(), "device": "sleeper"}
        self.residency = AllHere(entry.name)
        self._pipeline = SleepingPipeline(step_s)

    def pipeline(self, name: str) -> Pipeline:
        """The one there is."""
        return cast("Pipeline", self._pipeline)

    def is_out_of_memory(self, error: Exception) -> bool:
        """It needs none."""
        return False

    def is_lost(self, error: Exception) -> bool:
        """It has no device to lose."""
        return False


def main(arguments: Sequence[str]) -> int:
    """Work; `arguments` are those of the command."""
    entry, step_s = CatalogueEntry.model_validate_json(Path(arguments[0]).read_text()), float(arguments[1])
    settings = load_settings()
    configure_logging(settings.log_level)
    return run(settings, cast("Studio", SleepingStudio(entry, lambda request: step_s)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
