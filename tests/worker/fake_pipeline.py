"""A pipeline that costs nothing, with the interface of the real one; what it does wrong is said in the prompt.

    "nan"      the picture is lost to NaN          "oom"     the device has too little memory
    "bug"      the first step raises               "hang"    the second step never returns
    "wait"     no step ends before `gate` is set   "refuse"  the text cannot be encoded
    "lost"     the device answers nothing any more, whoever asks
    "die"      the second step kills the process

It imports no torch, so that a worker process with it starts in a moment.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from app.jobs.catalogue import CatalogueEntry
from models import NonFinite
from worker.engine import AllHere

if TYPE_CHECKING:
    from models import Request

CELL = 8


def size_of(request: Request) -> tuple[int, int]:
    """Width and height of what the request makes: its own, or those of the picture that it is made from."""
    if hasattr(request, "width"):
        return request.width, request.height
    height, width, _ = request.image.shape
    scale = getattr(request, "scale", 1)
    return width * scale, height * scale


class DeviceLost(RuntimeError):
    """What every call raises once the fake device is lost, as a GPU's do after a failed assert."""


@dataclass
class FakeRow:
    """One image on its way. Its latent is a picture already, with one pixel a cell."""

    index: int
    seed: int
    num_steps: int
    request: Request
    step: int = 0
    x0: np.ndarray | None = None

    @property
    def reproducible(self) -> bool:
        return self.request.reproducible

    @property
    def bucket(self) -> tuple[bool, tuple[int, int]]:
        return self.reproducible, size_of(self.request)

    @property
    def is_done(self) -> bool:
        return self.step >= self.num_steps


@dataclass
class FakePipeline:
    """Develops noise that depends on nothing but the seed, in steps of `step_s` seconds.

    It has memory for `memory_rows` rows in a step. `stepped` says of every step which images it took, and how many
    steps they have taken now; `shared` whose they were, by prompt.
    """

    step_s: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    memory_rows: int = 1000
    stepped: list[list[tuple[int, int]]] = field(default_factory=list)
    shared: list[list[str]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    is_lost: bool = False

    def begin(self, request: Request) -> list[FakeRow]:
        self._ask_device()
        self.threads.add(threading.current_thread().name)
        if "refuse" in request.prompt:
            raise RuntimeError("the fake pipeline does not like the text")
        return [
            FakeRow(index, (request.seed + index) % 2**32, request.num_steps, request)
            for index in range(request.num_images)
        ]

    def step(self, rows: Sequence[FakeRow]) -> None:
        self.threads.add(threading.current_thread().name)
        assert len({row.bucket for row in rows}) == 1
        prompts = " ".join(row.request.prompt for row in rows)
        self.is_lost |= "lost" in prompts
        self._ask_device()
        if "bug" in prompts:
            raise RuntimeError("the fake pipeline has a bug")
        if "oom" in prompts or len(rows) > self.memory_rows:
            raise MemoryError("the fake device is full")
        if "hang" in prompts and any(row.step == 1 for row in rows if "hang" in row.request.prompt):
            threading.Event().wait()
        if "die" in prompts and any(row.step == 1 for row in rows if "die" in row.request.prompt):
            os.kill(os.getpid(), signal.SIGKILL)
        if "wait" in prompts:
            self.gate.wait()
        time.sleep(self.step_s)
        for row in rows:
            row.step += 1
            width, height = size_of(row.request)
            row.x0 = self._pixels(row, width // CELL, height // CELL)
        self.stepped.append([(row.index, row.step) for row in rows])
        self.shared.append([row.request.prompt for row in rows])

    def finish(self, row: FakeRow) -> np.ndarray:
        if "nan" in row.request.prompt:
            raise NonFinite(row.index, row.step)
        return self._pixels(row, *size_of(row.request))

    def _ask_device(self) -> None:
        if self.is_lost:
            raise DeviceLost("CUDA error: device-side assert triggered")

    def preview(self, x0: np.ndarray) -> np.ndarray:
        return x0

    def _pixels(self, row: FakeRow, width: int, height: int) -> np.ndarray:
        return np.random.default_rng(row.seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class FakeStudio:
    """Serves one fake pipeline under the name of a catalogue entry."""

    def __init__(self, entry: CatalogueEntry, pipeline: FakePipeline, max_rows: int = 1) -> None:
        self.entries = [entry]
        self.facts = {"device": "fake"}
        self.max_rows = max_rows
        self.fake = pipeline
        self.residency = AllHere(entry.name)

    def pipeline(self, name: str) -> FakePipeline:
        assert name == self.entries[0].name
        return self.fake

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)

    def is_lost(self, error: Exception) -> bool:
        return self.fake.is_lost
