"""Memory while models take each other's place: jobs for the bundled model and its twin, with room for one of them."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.settings import Settings
from bench.common import Figure, run
from models import TextToImage, survey_model
from models.catalogue import find_model
from worker.engine import Engine, Model, Seconds
from worker.memory import memory_of
from worker.studio import Studio

if TYPE_CHECKING:
    import numpy as np

    from models import Request, Row

NAMES = ("storybook", "twin")
MIB = 2**20
MARKS = 10


class Job:
    """Work of two steps that tells when it is over, and keeps nothing."""

    owner = "bench"
    is_low = False
    step_cost = 1.0

    def __init__(self, pipeline: Model, seed: int) -> None:
        self.pipeline = pipeline
        self.request: Request = TextToImage(prompt="a fox in the snow", num_steps=2, seed=seed)
        self.is_over = threading.Event()
        self.error: Exception | None = None

    def is_wanted(self) -> bool:
        return True

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        pass

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        pass

    def completed(self, seconds: Seconds) -> None:
        self.is_over.set()

    def dropped(self) -> None:
        self.is_over.set()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.is_over.set()


def memory_bytes() -> int:
    """What the process has taken."""
    return memory_of("cpu")["memory_bytes"]


def held_after(swaps: int, jobs: int, settings: Settings) -> list[int]:
    """Memory in bytes, `MARKS` + 1 times on the way through so many jobs, whose model changes so many times."""
    opened = Studio.open(settings)
    engine = Engine(1, on_room=lambda: None, presence=opened.residency)
    engine.start()
    held = [memory_bytes()]
    for number in range(jobs):
        job = Job(opened.pipeline(NAMES[(number * swaps // jobs) % 2]), number)
        engine.submit(job)
        job.is_over.wait()
        if job.error is not None:
            raise job.error
        if (number + 1) * MARKS % jobs == 0:
            held.append(memory_bytes())
    engine.stop(60)
    return held


def two_models(do: Callable[[Settings], list[int]]) -> list[int]:
    """`do` with settings for the bundled model and its twin, of which one fits."""
    with tempfile.TemporaryDirectory() as folder:
        twin = shutil.copytree(find_model(NAMES[0]), Path(folder) / NAMES[1])
        card = json.loads((twin / "darkroom.json").read_text())
        (twin / "darkroom.json").write_text(json.dumps(card | {"name": NAMES[1]}))
        size_bytes = 4.0 * survey_model(twin).numbers
        return do(Settings(models_dir=Path(folder), default_model=NAMES[0], model_memory=size_bytes, device="cpu"))


def measure(is_short: bool) -> Sequence[Figure]:
    """How far memory grows over the second half of the jobs."""
    swaps, jobs = (10, 100) if is_short else (50, 1000)
    held = two_models(lambda settings: held_after(swaps, jobs, settings))
    half = held[MARKS // 2 :]
    return [
        Figure(f"memory at first, of {jobs} jobs and {swaps} swaps", held[0] / MIB, "MiB"),
        Figure("memory after half of them", half[0] / MIB, "MiB"),
        Figure("growth over the second half", (half[-1] - half[0]) / MIB, "MiB", goal="<= 20"),
        Figure("the most it grew meanwhile", (max(half) - half[0]) / MIB, "MiB"),
    ]


if __name__ == "__main__":
    run("swaps", measure)
