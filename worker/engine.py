"""One thread that steps. It knows pipelines and rows; of jobs it knows only who wants to be told.

Work is developed in the order in which it was submitted, at most `max_rows` images a step. Between two steps the
engine asks whether the work is still wanted; an unwanted one leaves at once, finished or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from worker.threads import has_ended

if TYPE_CHECKING:
    import numpy as np

    from models import Pipeline, Request, Row

# A step slower than all before it is no surprise; one that takes this many of the slowest is.
STEPS_OF_SILENCE = 20


@dataclass(slots=True)
class Seconds:
    """Where the engine's time went for one piece of work."""

    text_s: float = 0.0
    denoise_s: float = 0.0
    decode_s: float = 0.0


class Work(Protocol):
    """What the engine develops, and whom it tells. All of it is called on the engine's thread and must not block."""

    pipeline: Pipeline
    request: Request

    def is_wanted(self) -> bool:
        """Whether to go on; asked before every step."""

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        """All rows of the work, and those that were just brought one step further."""

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        """One image is done: (h, w, 3) uint8."""

    def completed(self, seconds: Seconds) -> None:
        """All images are done."""

    def dropped(self) -> None:
        """The work was no longer wanted, and has left."""

    def failed(self, error: Exception) -> None:
        """The pipeline raised; nothing more will come of this work."""


class Engine:
    """Develops what is submitted, on one thread of its own."""

    def __init__(
        self,
        max_rows: int,
        on_room: Callable[[], None],
        is_lost: Callable[[Exception], bool] = lambda error: False,
        on_lost: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """Prepare; `on_room` is called on the engine's thread whenever it could take more work.

        After an error that means, as `is_lost` says, that the device answers nothing any more, `on_lost` is called
        instead of the work's `failed`, and nothing more is developed.
        """
        if max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, got {max_rows}")
        self._max_rows = max_rows
        self._on_room = on_room
        self._is_lost = is_lost
        self._on_lost = on_lost
        self._inbox: SimpleQueue[Work | None] = SimpleQueue()
        self._unfinished = 0
        self._count_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.signs_of_life = 0
        self.slowest_step_s = 0.0
        self.row_step_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether work is submitted that is not over yet."""
        return self._unfinished > 0

    def start(self) -> None:
        """Begin to develop."""
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Develop this after what was submitted before it."""
        with self._count_lock:
            self._unfinished += 1
        self._inbox.put(work)

    def stop(self, timeout_s: float) -> bool:
        """End when what was submitted is over; False if that takes longer than `timeout_s`."""
        self._inbox.put(None)
        return has_ended(self._thread, timeout_s)

    def _run(self) -> None:
        while (work := self._inbox.get()) is not None:
            self.signs_of_life += 1
            try:
                self._develop(work)
            except Exception as error:
                if self._is_lost(error):
                    self._on_lost(error)
                    return
                work.failed(error)
            # Free before anybody is told: whoever hears of room must find it.
            with self._count_lock:
                self._unfinished -= 1
            self._on_room()

    def _develop(self, work: Work) -> None:
        seconds = Seconds()
        if not work.is_wanted():
            return work.dropped()
        started = time.perf_counter()
        rows = work.pipeline.begin(work.request)
        seconds.text_s = self._since(started)
        for first in range(0, len(rows), self._max_rows):
            if not self._denoise(work, rows, rows[first : first + self._max_rows], seconds):
                return work.dropped()
        return work.completed(seconds)

    def _denoise(self, work: Work, rows: Sequence[Row], batch: list[Row], seconds: Seconds) -> bool:
        """Bring a batch to its end; False if the work was dropped on the way."""
        while batch:
            if not work.is_wanted():
                return False
            started = time.perf_counter()
            work.pipeline.step(batch)
            step_s = self._since(started)
            self.row_step_s = step_s / len(batch)
            self.slowest_step_s = max(self.slowest_step_s, step_s)
            seconds.denoise_s += step_s
            work.stepped(rows, batch)
            for row in batch:
                if row.is_done:
                    started = time.perf_counter()
                    pixels = work.pipeline.finish(row)
                    seconds.decode_s += self._since(started)
                    work.developed(row, pixels)
            batch = [row for row in batch if not row.is_done]
        return True

    def _since(self, started: float) -> float:
        self.signs_of_life += 1
        return time.perf_counter() - started
