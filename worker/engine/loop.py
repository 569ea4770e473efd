"""The thread that steps and decodes.

Between two steps the engine takes in what was encoded meanwhile, lets go of what is no longer wanted, and decodes
one image if one is done; so nobody's steps wait for more than one step and one image of others, as long as their
model is in memory.
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
from worker.engine.errands import Errands, News
from worker.engine.turns import Batch, Guest, Turns
from worker.engine.work import AllHere, Model, Presence, Work
from worker.threads import has_ended

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
    """Develops what is submitted, beside its `Errands` on one thread of its own."""

    def __init__(
        self,
        max_rows: int,
        on_room: Callable[[], None],
        is_lost: Callable[[Exception], bool] = lambda error: False,
        on_lost: Callable[[Exception], None] = lambda error: None,
        is_out_of_memory: Callable[[Exception], bool] = lambda error: isinstance(error, MemoryError),
        presence: Presence | None = None,
    ) -> None:
        """Prepare; at most `max_rows` images share a step. `on_room` is called whenever there may be room for more.

        After an error that means, as `is_lost` says, that the device answers nothing any more, `on_lost` is called
        instead of the work's `failed`, and nothing more is developed. A shared step that is out of memory is tried
        again with fewer rows. Rows whose pipeline is not present wait until it is their turn to have it brought in.
        """
        self.buckets = Buckets(max_rows)
        self._on_room = on_room
        self._is_lost = is_lost
        self._on_lost = on_lost
        self._is_out_of_memory = is_out_of_memory
        self._presence = AllHere() if presence is None else presence
        self._turns = Turns()
        self._done: deque[tuple[Guest, Row]] = deque()
        self._inbox: SimpleQueue[News | None] = SimpleQueue()
        self._errands = Errands(
            self._inbox, self._presence, self._admit, self._fail, self._encode_those_of, self._fail_all
        )
        self._is_closing = False
        self._in_hand: dict[Work, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.signs_of_life = 0
        self.slowest_step_s = 0.0
        self.row_step_s = 0.0
        self.cost_per_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether work is submitted that is not over yet."""
        return bool(self._in_hand)

    @property
    def in_hand(self) -> Mapping[Work, int]:
        """What is submitted and not over yet, with how many images it has still to make."""
        with self._lock:
            return dict(self._in_hand)

    @property
    def is_loading(self) -> bool:
        """Whether a model is being brought in, which takes longer than any step."""
        return self._presence.is_loading

    def start(self) -> None:
        """Begin to develop."""
        self._errands.start()
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Develop this beside what else was submitted."""
        with self._lock:
            self._in_hand[work] = work.request.num_images
        if self._presence.is_here(work.pipeline):
            self._errands.encode(work)
        else:
            self._inbox.put(lambda: self._await_model(work))

    def stop(self, timeout_s: float) -> bool:
        """End when what was submitted is over; False if that takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        self._errands.say_last_word()
        # Before the errands, of which there may be more until then.
        return has_ended(self._thread, timeout_s) and self._errands.stop(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        try:
            while self._hear():
                self._let_go()
                self._see_to_models()
                if batch := self._turns.next_batch(self.buckets.size, self._presence.is_here):
                    self._step(batch)
                if self._done:
                    self._decode(*self._done.popleft())
        except DeviceLost as lost:
            self._on_lost(lost.error)

    def _hear(self) -> bool:
        """Take in what was encoded, waiting for it if there is nothing else to do; False at the end."""
        # After the last word, nothing is waited for.
        while self._turns.guests or not self._is_closing:
            try:
                news = self._inbox.get(block=self._must_wait())
            except Empty:
                return True
            if news is None:
                self._is_closing = True
            else:
                news()
        return False

    def _must_wait(self) -> bool:
        """Whether there is nothing to do before there is news: nobody is here, or their models are not."""
        if self._done or self._turns.next_here(self._presence.is_here) is not None:
            return False
        return self._errands.are_pending or not self._turns.guests

    def _see_to_models(self) -> None:
        """Have the model brought in whose turn it is, once the last one that was has had its time.

        Not while other errands are pending: what was encoded is to have a step before its model goes.
        """
        if self._errands.are_pending:
            return
        first = self._turns.next()
        if first is None or (first.is_encoded and self._presence.is_here(first.work.pipeline)):
            return
        here = self._turns.next_here(self._presence.is_here)
        makes_way = here is None or (here.work.is_low and not first.work.is_low)
        if makes_way or self._presence.may_swap or self._presence.is_here(first.work.pipeline):
            self._errands.bring(first.work.pipeline)

    def _encode_those_of(self, pipeline: Model) -> None:
        """Their model is here: have their texts encoded."""
        self.signs_of_life += 1
        for guest in self._turns.guests:
            if guest.work.pipeline is pipeline and not guest.is_encoded:
                self._turns.remove(guest)
                self._errands.encode(guest.work)

    def _await_model(self, work: Work) -> None:
        """Take in a work whose model is not here, and has to have its turn."""
        self._turns.add(Guest(work, ()))

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
        self.cost_per_s = sum(guest.work.step_cost for guest, _ in batch) / max(step_s, 1e-9)
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

    def _fail_all(self, pipeline: Model, error: Exception) -> None:
        """Nothing can be made with this pipeline."""
        for guest in self._turns.guests:
            if guest.work.pipeline is pipeline:
                self._leave(guest)
                self._fail(guest.work, error)

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
