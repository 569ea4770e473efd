"""What this worker has claimed, and the beat that keeps it.

A lease ends in one of three ways that the engine has to know of between two steps: it is lost (somebody else may
have the job by now), its job is cancelled, or it is given back. Whatever is true here may be late; the store's
fencing is what decides.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import structlog

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import Reason
from app.jobs.store import Claim, ClaimBeat, Store
from worker.memory import memory_of

log = structlog.get_logger()

REGISTER_EVERY_S = 60.0


class Ending(StrEnum):
    """Why a lease is over though its job is not, other than that it was given back."""

    LOST = "lost"
    CANCELLED = "cancelled"


class Lease:
    """One claimed job in this worker's hands, with how far it has come (steps summed over its images)."""

    def __init__(self, claim: Claim, steps: int) -> None:
        """Hold `claim`, which will take `steps` denoising steps in all."""
        self.claim = claim
        self.step = 0
        self.steps = steps
        self.ending: Ending | Reason | None = None

    @property
    def is_held(self) -> bool:
        """Whether anybody still wants what is being made."""
        return self.ending is None

    @property
    def is_lost(self) -> bool:
        """Whether the row is somebody else's, so that there is nothing left to tell the store."""
        return self.ending is Ending.LOST

    def end(self, ending: Ending | Reason) -> None:
        """Let go; the engine drops the rows at the next step. The first ending stays, but a loss is always a loss."""
        if self.ending is None or ending is Ending.LOST:
            self.ending = ending


class Leases:
    """Every lease of this worker; safe to use from all of its threads."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        """Start empty; `on_release` is called, on any thread, whenever a lease is released."""
        self._lock = threading.Lock()
        self._leases: dict[Claim, Lease] = {}
        self._on_release = on_release

    def __len__(self) -> int:
        """How many jobs are in this worker's hands."""
        return len(self._leases)

    def take(self, claim: Claim, steps: int) -> Lease:
        """Hold a new claim."""
        lease = Lease(claim, steps)
        with self._lock:
            self._leases[claim] = lease
        return lease

    def release(self, lease: Lease) -> None:
        """Forget a lease whose row is settled, or is not ours to settle."""
        with self._lock:
            self._leases.pop(lease.claim, None)
        self._on_release()

    def held(self) -> list[Lease]:
        """The leases as they are now."""
        with self._lock:
            return list(self._leases.values())

    def holds(self, job_id: str) -> bool:
        """Whether this worker has the job."""
        return any(lease.claim.job_id == job_id for lease in self.held())


class Heart:
    """The sign of life: renews every lease in one transaction, learns of losses and cancels, says what is served.

    It needs a store of its own: a beat must not wait behind the transactions of the other threads.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        leases: Leases,
        entries: Sequence[CatalogueEntry],
        facts: Mapping[str, Any],
        loaded: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Beat for `worker`, which serves `entries`, of which some are `loaded`, and says `facts` of itself."""
        self._store = store
        self._worker = worker
        self._leases = leases
        self._entries = entries
        self._facts = facts
        self._loaded = loaded
        self._registered_at = -math.inf

    def beat(self) -> None:
        """One beat. Raises: StoreUnavailable; the leases then stay as they are until the next one."""
        # By lease, not by job id: a job that was given back may be here again, under its next attempt.
        leases = {lease.claim.job_id: lease for lease in self._leases.held()}
        answer = self._store.beat(self._worker, [_sign(lease) for lease in leases.values()])
        for job_id in answer.lost:
            # Or finished while the beat was under way, and then nobody asks any more.
            leases[job_id].end(Ending.LOST)
        for job_id in answer.cancelled:
            leases[job_id].end(Ending.CANCELLED)
        self._show_up()

    def _show_up(self) -> None:
        # Again now and then: after a long sleep of the machine, the others have forgotten what this worker serves.
        if time.monotonic() - self._registered_at > REGISTER_EVERY_S:
            for entry in self._entries:
                self._store.register_model(self._worker, entry)
            if self._registered_at == -math.inf:
                log.info("worker.ready", worker=self._worker, models=[entry.name for entry in self._entries])
            self._registered_at = time.monotonic()
        # Last: who sees the worker alive may rely on its models.
        memory = memory_of(str(self._facts.get("device", "cpu")))
        self._store.worker_beat(self._worker, {**self._facts, **memory, "loaded": list(self._loaded())})


def _sign(lease: Lease) -> ClaimBeat:
    return ClaimBeat(lease.claim.job_id, lease.claim.attempt, lease.step, lease.steps)
