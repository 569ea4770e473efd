"""What is done beside the steps, on a thread of its own: texts are encoded, and models brought into memory.

What comes of an errand is news for the engine's thread, which hears it between two steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from worker.engine.work import Model, Presence, Work
from worker.threads import Desk

if TYPE_CHECKING:
    from models import Row

News = Callable[[], None]


class Errands:
    """The errands of one engine, done one after the other."""

    def __init__(
        self,
        inbox: SimpleQueue[News | None],
        presence: Presence,
        on_rows: Callable[[Work, Sequence[Row] | None, float], None],
        on_refused: Callable[[Work, Exception], None],
        on_here: Callable[[Model], None],
        on_absent: Callable[[Model, Exception], None],
    ) -> None:
        """Put news into `inbox`: rows (none if they are no longer wanted) with the seconds that they took, a refusal
        of the work, that a pipeline is here, or that it cannot be brought in.
        """
        self._inbox = inbox
        self._presence = presence
        self._on_rows = on_rows
        self._on_refused = on_refused
        self._on_here = on_here
        self._on_absent = on_absent
        self._desk = Desk("encoder")
        self._lock = threading.Lock()
        self._pending = 0

    @property
    def are_pending(self) -> bool:
        """Whether the engine has news to hear yet."""
        return self._pending > 0

    def start(self) -> None:
        """Begin to run errands."""
        self._desk.start()

    def stop(self, timeout_s: float) -> bool:
        """End when every errand is done; False if that takes longer than `timeout_s`."""
        return self._desk.stop(timeout_s)

    def encode(self, work: Work) -> None:
        """Make rows of the request."""
        self._run(lambda: self._encoded(work))

    def bring(self, pipeline: Model) -> None:
        """Bring the pipeline into memory, in the place of others if need be."""
        self._run(lambda: self._brought(pipeline))

    def say_last_word(self) -> None:
        """Tell the engine, after the errands so far, that there is nothing more to come of them."""
        self._desk.do(lambda: self._inbox.put(None))

    def _run(self, errand: Callable[[], News]) -> None:
        with self._lock:
            self._pending += 1
        self._desk.do(lambda: self._report(errand()))

    def _report(self, news: News) -> None:
        def hear() -> None:
            with self._lock:
                self._pending -= 1
            news()

        self._inbox.put(hear)

    def _encoded(self, work: Work) -> News:
        started = time.perf_counter()
        try:
            rows = work.pipeline.begin(work.request) if work.is_wanted() else None
        except Exception as error:
            refusal = error
            return lambda: self._on_refused(work, refusal)
        seconds = time.perf_counter() - started
        return lambda: self._on_rows(work, rows, seconds)

    def _brought(self, pipeline: Model) -> News:
        try:
            self._presence.bring(pipeline)
        except Exception as error:
            refusal = error
            return lambda: self._on_absent(pipeline, refusal)
        return lambda: self._on_here(pipeline)
