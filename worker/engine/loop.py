"""Two threads: one that encodes texts, one that steps and decodes.

Between two steps the engine takes in what was encoded meanwhile, lets go of what is no longer wanted, and decodes
one image if one is done; so nobody's steps wait for more than one step and one image of others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import structlog

from worker.engine.buckets import Buckets
from worker.engine.turns import Batch, Guest, Turns
from worker.engine.work import Work
from worker.threads import Desk, has_ended

if TYPE_CHECKING:
    from models import Row

log = structlog.get_logger()

# A step slower than all before it is no surprise; one that takes this many of the slowest is.
STEPS_OF_SILENCE = 20


class DeviceLost(Exception):
    """The device answers nothing any more; `error` is what it said last."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Engine:
    """Develops what is submitted: encoding on one thread of its own, everything else on another."""

    def __init__(
        self,
        max_rows: int,
        on_room: Callable[[], None],
        is_lost: Callable[[Exception], bool] = lambda error: False,
        on_lost: Callable[[Exception], None] = lambda error: None,
        is_out_of_memory: Callable[[Exception], bool] = lambda error: isinstance(error, MemoryError),
    ) -> None:
        """Prepare; at most `max_rows` images share a step. `on_room` is called whenever there may be room for more.

        After an error that means, as `is_lost` says, that the device answers nothing any more, `on_lost` is called
        instead of the work's `failed`, and nothing more is developed. A shared step that is out of memory is tried
        again with fewer rows.
        """
        self.buckets = Buckets(max_rows)
        self._on_room = on_room
        self._is_lost = is_lost
        self._on_lost = on_lost
        self._is_out_of_memory = is_out_of_memory
        self._turns = Turns()
        self._done: deque[tuple[Guest, Row]] = deque()
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._encoder = Desk("encoder")
        self._in_hand: dict[Work, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.signs_of_life = 0
        self.slowest_step_s = 0.0
        self.row_step_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether work is submitted that is not over yet."""
        return bool(self._in_hand)

    @property
    def in_hand(self) -> Mapping[Work, int]:
        """What is submitted and not over yet, with how many images it has still to make."""
        with self._lock:
            return dict(self._in_hand)

    def start(self) -> None:
        """Begin to develop."""
        self._encoder.start()
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Develop this beside what else was submitted."""
        with self._lock:
            self._in_hand[work] = work.request.num_images
        self._encoder.do(lambda: self._encode(work))

    def stop(self, timeout_s: float) -> bool:
        """End when what was submitted is over; False if that takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        # By way of the encoder: after whatever it has still to pass on.
        self._encoder.do(lambda: self._inbox.put(None))
        return self._encoder.stop(timeout_s) and has_ended(self._thread, max(0.0, deadline - time.monotonic()))

    # --- The encoder's thread --------------------------------------------------------------------------------

    def _encode(self, work: Work) -> None:
        """Make rows of the request, while others step, and pass on whatever came of it."""
        started = time.perf_counter()
        try:
            rows = work.pipeline.begin(work.request) if work.is_wanted() else None
        except Exception as error:
            refusal = error
            self._inbox.put(lambda: self._fail(work, refusal))
            return
        seconds = time.perf_counter() - started
        self._inbox.put(lambda: self._admit(work, rows, seconds))

    # --- The engine's thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._hear():
                self._let_go()
                if batch := self._turns.next_batch(self.buckets.size):
                    self._step(batch)
                if self._done:
                    self._decode(*self._done.popleft())
        except DeviceLost as lost:
            self._on_lost(lost.error)

    def _hear(self) -> bool:
        """Take in what was encoded, waiting for it if there is nothing else to do; False at the end."""
        while True:
            try:
                # After the last word, nothing is waited for.
                news = self._inbox.get(block=not self._turns.guests)
            except Empty:
                return True
            if news is None:
                self._inbox.put(None)
                return bool(self._turns.guests)
            news()

    def _admit(self, work: Work, rows: Sequence[Row] | None, text_s: float) -> None:
        # The work itself, and its text.
        self.signs_of_life += 2
        if rows is None:
            work.dropped()
            self._is_over(work)
            return
        guest = Guest(work, rows)
        guest.seconds.text_s = text_s
        self._turns.add(guest)
        # What needs no step, but only to be decoded.
        self._done.extend((guest, row) for row in rows if row.is_done)

    def _let_go(self) -> None:
        for guest in self._turns.guests:
            if not guest.work.is_wanted():
                self._leave(guest)
                guest.work.dropped()
                self._is_over(guest.work)

    def _step(self, batch: Batch) -> None:
        """Bring these rows one step further; whatever goes wrong, no row of another work is harmed."""
        rows = [row for _, row in batch]
        kind, pipeline = batch[0][0].kind, batch[0][0].work.pipeline
        started = time.perf_counter()
        try:
            pipeline.step(rows)
        except Exception as error:
            self.signs_of_life += 1
            self._step_failed(batch, error)
            return
        step_s = self._since(started)
        self.row_step_s = step_s / len(rows)
        self.slowest_step_s = max(self.slowest_step_s, step_s)
        self.buckets.went_well(kind, len(rows))
        for guest, own in _by_guest(batch):
            guest.seconds.denoise_s += step_s
            guest.waiting = [row for row in guest.waiting if not row.is_done]
            guest.work.stepped(guest.rows, own)
        self._done.extend((guest, row) for guest, row in batch if row.is_done)

    def _step_failed(self, batch: Batch, error: Exception) -> None:
        """Fewer rows if the memory was too little; else each work's rows alone, to see whose fault it was."""
        if self._is_lost(error):
            raise DeviceLost(error) from error
        parts = _by_guest(batch)
        if self._is_out_of_memory(error) and len(batch) > 1:
            size = self.buckets.shrink(batch[0][0].kind, len(batch))
            log.warning("engine.shrunk", rows=len(batch), size=size, times=self.buckets.times_shrunk)
        elif len(parts) > 1:
            for guest, own in parts:
                self._step([(guest, row) for row in own])
        else:
            guest = batch[0][0]
            self._leave(guest)
            self._fail(guest.work, error)

    def _decode(self, guest: Guest, row: Row) -> None:
        started = time.perf_counter()
        try:
            pixels = guest.work.pipeline.finish(row)
        except Exception as error:
            self.signs_of_life += 1
            self._leave(guest)
            self._fail(guest.work, error)
            return
        guest.seconds.decode_s += self._since(started)
        guest.work.developed(row, pixels)
        guest.undeveloped -= 1
        if guest.undeveloped == 0:
            self._leave(guest)
            guest.work.completed(guest.seconds)
            self._is_over(guest.work)
            return
        with self._lock:
            self._in_hand[guest.work] = guest.undeveloped
        self._on_room()

    def _fail(self, work: Work, error: Exception) -> None:
        if self._is_lost(error):
            raise DeviceLost(error) from error
        work.failed(error)
        self._is_over(work)

    def _leave(self, guest: Guest) -> None:
        self._turns.remove(guest)
        self._done = deque(done for done in self._done if done[0] is not guest)

    def _is_over(self, work: Work) -> None:
        # Free before anybody is told: whoever hears of room must find it.
        with self._lock:
            del self._in_hand[work]
        self._on_room()

    def _since(self, started: float) -> float:
        self.signs_of_life += 1
        return time.perf_counter() - started


def _by_guest(batch: Batch) -> list[tuple[Guest, list[Row]]]:
    rows: dict[Guest, list[Row]] = {}
    for guest, row in batch:
        rows.setdefault(guest, []).append(row)
    return list(rows.items())
