"""Pixels -> products -> the row, on a thread of its own, so that no step waits for an encoder, a disk or a database.

The files of an attempt are written as its images come. They are published by one commit, `store.finish`, or never:
what an attempt wrote that is not published is swept away later, and never deleted here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog

from app.jobs.failures import ErrorCode, NoSuchFile, Reason, StorageError, StorageFull, StoreUnavailable
from app.jobs.storage import Storage
from app.jobs.store import Answered, Cancelled, Failed, Outcome, State, Store, Succeeded
from worker.engine import Seconds
from worker.leases import Ending, Lease, Leases
from worker.products import InputLost, Product, product_of
from worker.reporting import Reporter
from worker.threads import Desk

if TYPE_CHECKING:
    import numpy as np

log = structlog.get_logger()

STORE_RETRY_S = 0.5
STORAGE_RETRIES_S = (0.5, 2.0)

LOST = Failed(ErrorCode.INPUT_LOST, ErrorCode.INPUT_LOST.message)

STATES = {
    Succeeded: State.SUCCEEDED,
    Answered: State.SUCCEEDED,
    Failed: State.FAILED,
    Cancelled: State.CANCELLED,
}
"""The state that a job is in after an outcome was accepted."""


class Publisher:
    """One thread that writes files and settles rows, in the order in which it is asked."""

    def __init__(self, store: Store, storage: Storage, leases: Leases, reporter: Reporter) -> None:
        """Publish to `store` and `storage`; release the lease when its row is settled, and tell `reporter`."""
        self.store = store
        self.storage = storage
        self.leases = leases
        self.reporter = reporter
        self.is_stopping = threading.Event()
        self._desk = Desk("publisher")

    def start(self) -> None:
        """Begin to publish."""
        self._desk.start()

    def open(self, lease: Lease, revision: str, fingerprint: str) -> Publication:
        """The publication of one job, made by a model of this revision on a device of this fingerprint."""
        return Publication(self, lease, product_of(lease.claim, revision, fingerprint, self.put, self.storage.get))

    def do(self, task: Callable[[], None]) -> None:
        """Run `task`, which handles its own errors, after what was asked before it."""
        self._desk.do(task)

    def put(self, key: str, data: bytes) -> None:
        """Store a file. A storage that stumbles is asked again; a full one is not, for waiting frees nothing.

        Raises: StorageError.
        """
        for pause_s in STORAGE_RETRIES_S:
            try:
                return self.storage.put(key, data)
            except StorageFull:
                raise
            except StorageError as error:
                log.warning("storage.away", key=key, error=str(error))
                if self.is_stopping.wait(pause_s):
                    raise
        return self.storage.put(key, data)

    def stop(self, timeout_s: float) -> bool:
        """End when what was asked is done, without waiting for a store that is away; False if not in `timeout_s`."""
        self.is_stopping.set()
        return self._desk.stop(timeout_s)


class Publication:
    """The images of one attempt on their way out. Its public methods return at once; the publisher does the work."""

    def __init__(self, publisher: Publisher, lease: Lease, product: Product) -> None:
        """Publish the job of `lease`, of which `product` is to come."""
        self._publisher = publisher
        self._lease = lease
        self._product = product
        self._encode_s = 0.0
        self._failure: Failed | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether what is added may still be published, as far as this side knows."""
        return self._failure is None

    def keep(self, index: int, step: int, x0: Any) -> None:
        """Keep what image `index` was estimated to be after `step`."""
        self._publisher.do(lambda: self._write(lambda: self._product.keep(index, step, x0)))

    def add(self, index: int, seed: int, pixels: np.ndarray) -> None:
        """Image `index` is done: write it."""
        self._publisher.do(lambda: self._write(lambda: self._product.add(index, seed, pixels)))

    def publish(self, seconds: Seconds) -> None:
        """Publish what was added: it is the whole job, and took `seconds`."""
        self._publisher.do(lambda: self._close(seconds))

    def fail(self, failure: Failed) -> None:
        """End the job as failed; publish nothing."""
        self._failure = failure
        self.abandon()

    def abandon(self) -> None:
        """Publish nothing: the job has failed, or its lease has ended and says why."""
        self._publisher.do(lambda: self._close(None))

    def _write(self, write: Callable[[], None]) -> None:
        # Whatever went wrong before, or is over, needs no more files.
        if self._failure is not None or not self._lease.is_held:
            return
        started = time.perf_counter()
        try:
            write()
        except (InputLost, NoSuchFile) as error:
            log.error("input.lost", job_id=self._lease.claim.job_id, error=str(error))
            self._failure = LOST
        except StorageError as error:
            log.warning("storage.failed", job_id=self._lease.claim.job_id, error=str(error))
            self._lease.end(Reason.DISK_FULL if isinstance(error, StorageFull) else Reason.STORAGE)
        except Exception:
            log.exception("job.error", job_id=self._lease.claim.job_id)
            self._failure = Failed(ErrorCode.INTERNAL, ErrorCode.INTERNAL.message)
        self._encode_s += time.perf_counter() - started

    def _close(self, seconds: Seconds | None) -> None:
        """Settle the row and release the lease; `seconds` only if every image is done."""
        job_id = self._lease.claim.job_id
        try:
            state = self._settle_patiently(seconds)
            if state is not None:
                spent = {} if seconds is None else asdict(seconds)
                log.info(f"job.{state}", job_id=job_id, attempt=self._lease.claim.attempt, **spent)
                self._publisher.reporter.state(self._lease, state)
        except Exception:
            # Nothing is lost: the lease runs out, and the job runs again.
            log.exception("job.unsettled", job_id=job_id, attempt=self._lease.claim.attempt)
        finally:
            self._publisher.leases.release(self._lease)

    def _settle_patiently(self, seconds: Seconds | None) -> State | None:
        """The state the row is in afterwards; None if it is not ours to settle any more."""
        while not self._lease.is_lost:
            try:
                return self._settle(seconds)
            except StoreUnavailable as error:
                log.warning("store.away", job_id=self._lease.claim.job_id, error=str(error))
                if self._publisher.is_stopping.wait(STORE_RETRY_S):
                    raise
        log.warning("lease.lost", job_id=self._lease.claim.job_id, attempt=self._lease.claim.attempt)
        return None

    def _settle(self, seconds: Seconds | None) -> State | None:
        store, claim, ending = self._publisher.store, self._lease.claim, self._lease.ending
        if isinstance(ending, Reason):
            if store.give_back(claim, ending):
                log.warning("job.given_back", job_id=claim.job_id, attempt=claim.attempt, reason=ending)
        else:
            outcome = self._outcome(seconds)
            if store.finish(claim, outcome):
                return STATES[type(outcome)]
        state = store.get(claim.job_id, claim.owner).state
        return None if state is State.RUNNING else state

    def _outcome(self, seconds: Seconds | None) -> Outcome:
        if self._lease.ending is Ending.CANCELLED:
            return Cancelled()
        if self._failure is not None or seconds is None:
            return self._failure or Failed(ErrorCode.INTERNAL, ErrorCode.INTERNAL.message)
        return self._product.outcome({**asdict(seconds), "encode_s": self._encode_s})
