"""What happens to a claimed job, and the threads that do it. How claims are come by is the consumer's business."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from app.jobs import queue
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import Reason, StoreUnavailable
from app.jobs.orphans import remove_orphans
from app.jobs.settings import Settings
from app.jobs.spec import Params, steps_in_all
from app.jobs.storage import Storage
from app.jobs.store import Claim, Priority, State, Store
from worker.beginning import begin
from worker.developing import INTERNAL
from worker.engine import Engine, Model, Presence
from worker.fetching import fetch
from worker.leases import Heart, Lease, Leases
from worker.publishing import Publication, Publisher
from worker.reporting import Reporter, announce
from worker.requests import NO_INPUTS, Inputs
from worker.threads import Desk, Ticker
from worker.watchdog import EXIT_HUNG, Watchdog

log = structlog.get_logger()

# Beside the jobs that fill the engine: some whose files are being written meanwhile,
BEING_WRITTEN = 2
# and some that are let in though it is full, since they are of others than those who fill it.
BESIDE = 4
WATCH_S = 1.0
TIDY_S = 600.0
LEAVE_S = 2.0


class Residency(Presence, Protocol):
    """Which of the pipelines are in memory."""

    @property
    def here(self) -> Sequence[str]:
        """Their names."""

    @property
    def slice_s(self) -> float:
        """How long the last one is to be used, to have been worth bringing in."""


class Studio(Protocol):
    """The pipelines on offer, as the crew needs them."""

    entries: Sequence[CatalogueEntry]
    facts: Mapping[str, Any]
    max_rows: int

    @property
    def residency(self) -> Residency:
        """Which of them are in memory."""

    def pipeline(self, name: str) -> Model:
        """The pipeline of this name, or what brings it in when it is used."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether the device had too little memory."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the device answers nothing any more, now that this was raised."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of job the crew has room for, as `store.claim_next` is told; of anybody's if it is not `picky`."""

    alone: bool
    priorities: Sequence[Priority] = tuple(Priority)
    busy_for: Sequence[str] = ()

    @property
    def is_picky(self) -> bool:
        """Whether most jobs that wait have to wait on."""
        return len(self.priorities) < len(Priority)


class Crew:
    """Develops and publishes claimed jobs, keeps their leases, sweeps, and tells whoever watches."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        store: Store,
        storage: Storage,
        studio: Studio,
        on_change: Callable[[], None],
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Work for the worker `name`; `on_change` is called, on any thread, when there may be room for more.

        `end` ends the process, when its device is of no use any more.
        """
        self._end = end
        self._store = store
        self._storage = storage
        self._studio = studio
        self._on_change = on_change
        self._fetcher = Desk("fetcher")
        self._fetching: set[Claim] = set()
        self._entries = {entry.name: entry for entry in studio.entries}
        self._connection = queue.connect(settings.resolved_redis_url)
        self._leases = Leases(on_release=on_change)
        self._reporter = Reporter(self._connection)
        self._publisher = Publisher(store, storage, self._leases, self._reporter)
        max_rows = settings.max_rows or studio.max_rows
        self._engine = Engine(
            max_rows, on_change, studio.is_lost, self._end_lost, studio.is_out_of_memory, studio.residency
        )
        # Where images share steps, some more than share one: there should be others when one leaves.
        self._full_rows = max_rows + max_rows // 2
        heart = Heart(store, name, self._leases, studio.entries, studio.facts, lambda: studio.residency.here)
        watchdog = Watchdog(self._engine, look_s=WATCH_S, end=end)
        self._beats = Ticker("beat", settings.beat_s, heart.beat)
        sweeps = Ticker("sweep", settings.sweep_s, self._sweep)
        looks = Ticker("watchdog", WATCH_S, watchdog.look)
        tidying = Ticker("tidy", TIDY_S, lambda: remove_orphans(store, storage))
        # Started in this order and stopped in the other: who is told stops after who tells.
        self._parts = (
            self._reporter,
            self._publisher,
            self._engine,
            self._fetcher,
            self._beats,
            sweeps,
            looks,
            tidying,
        )

    @property
    def wish(self) -> Wish | None:
        """What a job must be like to begin soon if it is claimed now, and take nobody down with it; None if none may.

        There is room for anybody while fewer images are in hand than keep the device busy. Then there is some for
        normal jobs, before which low ones make way, and for those of owners who have none in hand: what one
        owner has in hand must not keep others from their turns.
        """
        leases = self._leases.held()
        if any(lease.claim.solo for lease in leases):
            return None
        hand = self._hand()
        full = self._full_rows
        if sum(hand.values()) < full:
            is_behind = len(leases) >= full + BEING_WRITTEN
            return None if is_behind else Wish(alone=self.is_idle)
        if len(leases) >= full + BEING_WRITTEN + BESIDE:
            return None
        normal = {owner: rows for (owner, is_low), rows in hand.items() if not is_low}
        is_full = sum(normal.values()) >= full
        return Wish(alone=False, priorities=(Priority.NORMAL,), busy_for=tuple(normal) if is_full else ())

    @property
    def loaded(self) -> Sequence[str]:
        """The models in memory."""
        return self._studio.residency.here

    @property
    def swap_cost(self) -> float:
        """What is developed in the time for which a model should be used that was brought in."""
        return self._studio.residency.slice_s * self._engine.cost_per_s

    def _hand(self) -> Counter[tuple[str, bool]]:
        """How many images are still to be made, by owner and whether the job is low."""
        hand: Counter[tuple[str, bool]] = Counter()
        for work, rows in self._engine.in_hand.items():
            hand[work.owner, work.is_low] += rows
        for claim in tuple(self._fetching):
            hand[claim.owner, claim.params.priority == "low"] += claim.params.num_images
        return hand

    @property
    def is_idle(self) -> bool:
        """Whether every job that was taken is settled."""
        return len(self._leases) == 0

    @property
    def remaining_s(self) -> float:
        """A lower bound of how long the jobs in hand will take: their steps to go, at the speed of the last one."""
        return sum(lease.steps - lease.step for lease in self._leases.held()) * self._engine.row_step_s

    def start(self) -> None:
        """Start every thread."""
        for part in self._parts:
            part.start()

    def take(self, claim: Claim) -> None:
        """Do this job; all that follows happens on other threads."""
        entry = self._entries[claim.params.model]
        lease = self._leases.take(claim, steps_in_all(claim.params))
        self._reporter.state(lease, State.RUNNING)
        publication = self._publisher.open(lease, self._revision(claim.params), entry.fingerprint)
        if not claim.params.inputs and not claim.params.stored:
            self._begin(lease, publication)
            return
        # On a thread of its own: a storage that hangs must not keep this one from hearing signals.
        self._fetching.add(claim)
        self._fetcher.do(lambda: self._fetch_and_begin(lease, publication))

    def _begin(self, lease: Lease, publication: Publication, inputs: Inputs = NO_INPUTS) -> None:
        begin(lease, publication, inputs, self._studio, self._reporter, self._engine.submit)

    def _revision(self, params: Params) -> str:
        """The revision of the model, or of both, that the pictures pass through."""
        names = [name for name in (params.model, params.second_model) if name]
        return "+".join(self._entries[name].revision for name in names)

    def _fetch_and_begin(self, lease: Lease, publication: Publication) -> None:
        try:
            inputs = fetch(self._storage, lease, publication)
            if inputs is not None:
                self._begin(lease, publication, inputs)
        except MemoryError as error:
            log.warning("job.error", job_id=lease.claim.job_id, error=repr(error))
            lease.end(Reason.OUT_OF_MEMORY)
            publication.abandon()
        except Exception:
            log.exception("job.error", job_id=lease.claim.job_id)
            publication.fail(INTERNAL)
        finally:
            self._fetching.discard(lease.claim)
            self._on_change()

    def look_at(self, job_id: str) -> None:
        """Somebody says that the job is cancelled. Whether that is so, the row knows: ask it now."""
        if self._leases.holds(job_id):
            self._beats.wake()

    def give_back(self) -> bool:
        """Return every job in hand to the queue, whatever has become of it so far.

        False if the store was away; calling again does what is left to do.
        """
        is_told = True
        for lease in self._leases.held():
            lease.end(Reason.SHUTDOWN)
            # Not by way of the engine: a step may last longer than we have.
            try:
                if self._store.give_back(lease.claim, Reason.SHUTDOWN):
                    log.info("job.given_back", job_id=lease.claim.job_id, attempt=lease.claim.attempt)
            except StoreUnavailable as error:
                log.warning("store.away", job_id=lease.claim.job_id, error=str(error))
                is_told = False
        return is_told

    def stop(self) -> bool:
        """Stop every thread. False if one is stuck, and only the end of the process can end it."""
        deadline = time.monotonic() + LEAVE_S
        have_ended = [part.stop(max(0.0, deadline - time.monotonic())) for part in reversed(self._parts)]
        return all(have_ended)

    def _end_lost(self, error: Exception) -> None:
        """End the process, since every job after this one would fail as well.

        The job that was being made is lost, and counted so: it may be what broke the device.
        """
        log.critical("device.lost", error=repr(error))
        # What is made already needs no device.
        self._publisher.stop(LEAVE_S)
        self._end(EXIT_HUNG)

    def _sweep(self) -> None:
        swept = self._store.sweep()
        changes = {State.QUEUED: swept.requeued, State.FAILED: swept.failed, State.CANCELLED: swept.cancelled}
        for state, job_ids in changes.items():
            for job_id in job_ids:
                log.warning("job.swept", job_id=job_id, state=state)
                announce(self._connection, job_id, state)
        if swept.ring:
            queue.ring_if_silent(self._connection)
