"""Pixels -> files -> the row, on a thread of its own, so that no step waits for an encoder, a disk or a database.

The files of an attempt are written as its images come. They are published by one commit, `store.finish`, or never:
what an attempt wrote that is not published is swept away later, and never deleted here.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
from PIL import Image

from app.jobs import recipe
from app.jobs.failures import ErrorCode, Reason, StorageError, StorageFull, StoreUnavailable
from app.jobs.recipe import Recipe
from app.jobs.spec import Params
from app.jobs.storage import Storage, image_key, thumbnail_key
from app.jobs.store import Cancelled, Failed, Outcome, PublishedImage, State, Store, Succeeded
from worker.engine import Seconds
from worker.leases import Ending, Lease, Leases
from worker.reporting import Reporter
from worker.threads import Desk

if TYPE_CHECKING:
    import numpy as np

log = structlog.get_logger()

THUMBNAIL_SIDE = 256
STORE_RETRY_S = 0.5
STORAGE_RETRIES_S = (0.5, 2.0)

STATES = {Succeeded: State.SUCCEEDED, Failed: State.FAILED, Cancelled: State.CANCELLED}
"""The state that a job is in after an outcome was accepted."""


def encode(pixels: np.ndarray, params: Params, embedded: Recipe | None) -> bytes:
    """A (h, w, 3) uint8 picture as a file in the format that was asked for, with its recipe if there is one."""
    options: dict[str, Any] = {} if embedded is None else recipe.embedding(embedded, params.format)
    if params.format != "png":
        options["quality"] = params.quality
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, params.format.upper(), **options)
    return buffer.getvalue()


def thumbnail(pixels: np.ndarray) -> bytes:
    """The picture as a WebP that fits into a square of THUMBNAIL_SIDE pixels; a smaller one keeps its size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


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
        return Publication(self, lease, revision, fingerprint)

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

    def __init__(self, publisher: Publisher, lease: Lease, revision: str, fingerprint: str) -> None:
        """Publish the job of `lease`."""
        self._publisher = publisher
        self._lease = lease
        self._revision = revision
        self._fingerprint = fingerprint
        self._images: list[PublishedImage] = []
        self._encode_s = 0.0
        self._failure: Failed | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether what is added may still be published, as far as this side knows."""
        return self._failure is None

    def add(self, index: int, seed: int, pixels: np.ndarray) -> None:
        """Write image `index` and its thumbnail."""
        self._publisher.do(lambda: self._write(index, seed, pixels))

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

    def _write(self, index: int, seed: int, pixels: np.ndarray) -> None:
        # Whatever went wrong before, or is over, needs no more files.
        if self._failure is not None or not self._lease.is_held:
            return
        started = time.perf_counter()
        try:
            self._images.append(self._store_files(index, seed, pixels))
        except StorageError as error:
            log.warning("storage.failed", job_id=self._lease.claim.job_id, error=str(error))
            self._lease.end(Reason.DISK_FULL if isinstance(error, StorageFull) else Reason.STORAGE)
        except Exception:
            log.exception("job.error", job_id=self._lease.claim.job_id)
            self._failure = Failed(ErrorCode.INTERNAL, ErrorCode.INTERNAL.message)
        self._encode_s += time.perf_counter() - started

    def _store_files(self, index: int, seed: int, pixels: np.ndarray) -> PublishedImage:
        claim, params = self._lease.claim, self._lease.claim.params
        embedded = Recipe.of(params, index, self._revision) if params.metadata else None
        data = encode(pixels, params, embedded)
        key = image_key(claim.job_id, claim.attempt, index, params.format)
        small_key = thumbnail_key(claim.job_id, claim.attempt, index, THUMBNAIL_SIDE)
        self._publisher.put(key, data)
        self._publisher.put(small_key, thumbnail(pixels))
        height, width, _ = pixels.shape
        return PublishedImage(
            index=index,
            seed=seed,
            width=width,
            height=height,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            key=key,
            thumbnail_key=small_key,
        )

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
        return Succeeded(
            images=tuple(sorted(self._images, key=lambda image: image.index)),
            timings={**asdict(seconds), "encode_s": self._encode_s},
            model_revision=self._revision,
            fingerprint=self._fingerprint,
        )
