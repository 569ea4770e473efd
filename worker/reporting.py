"""Progress and previews for whoever watches. Best effort, on its own thread: Redis may be slow or away, and no
step, no file and no commit ever waits for it.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from typing import TYPE_CHECKING, Any

from PIL import Image
from redis import Redis

from app.jobs.events import publish_done, publish_progress, publish_state
from app.jobs.store import State
from worker.engine import Model
from worker.leases import Lease
from worker.threads import Desk

if TYPE_CHECKING:
    import numpy as np

PREVIEW_INTERVAL_S = 0.2
PROGRESS_INTERVAL_S = 0.1
MAX_PREVIEW_BYTES = 10_000


class Reporter:
    """Says what happens to this worker's jobs, in the order in which it happens; of progress only the latest."""

    def __init__(self, connection: Redis) -> None:
        """Publish on `connection`, which should give up soon."""
        self._connection = connection
        self._desk = Desk("reporter")
        self._lock = threading.Lock()
        self._latest: dict[Lease, tuple[int, Model, Any]] = {}
        self._progress_due: dict[Lease, float] = {}
        self._preview_due: dict[Lease, float] = {}

    def start(self) -> None:
        """Begin to publish."""
        self._desk.start()

    def stop(self, timeout_s: float) -> bool:
        """Publish what is waiting and end; False if that takes longer than `timeout_s`."""
        return self._desk.stop(timeout_s)

    def progress(self, lease: Lease, index: int, pipeline: Model, x0: Any) -> None:
        """Say how far the job is, and how image `index` looks: `x0` becomes a preview if one is due."""
        with self._lock:
            is_announced = lease in self._latest
            self._latest[lease] = (index, pipeline, x0)
        if not is_announced:
            self._desk.do(lambda: self._send_progress(lease))

    def state(self, lease: Lease, state: State) -> None:
        """Say that the job is in `state` now; a terminal state is the last word about it."""
        self._desk.do(lambda: self._send_state(lease, state))

    def _send_progress(self, lease: Lease) -> None:
        with self._lock:
            index, pipeline, x0 = self._latest.pop(lease)
        now = time.monotonic()
        if now < self._progress_due.get(lease, now) and lease.step < lease.steps:
            return
        self._progress_due[lease] = now + PROGRESS_INTERVAL_S
        preview = None
        if x0 is not None and now >= self._preview_due.get(lease, now):
            self._preview_due[lease] = now + PREVIEW_INTERVAL_S
            preview = preview_uri(pipeline.preview(x0))
        publish_progress(self._connection, lease.claim.job_id, lease.step, lease.steps, index, preview)

    def _send_state(self, lease: Lease, state: State) -> None:
        announce(self._connection, lease.claim.job_id, state)
        if state is not State.RUNNING:
            self._progress_due.pop(lease, None)
            self._preview_due.pop(lease, None)


def announce(connection: Redis, job_id: str, state: State) -> None:
    """Say that the job is in `state` now; a terminal state is the last word about it."""
    publish = publish_done if state.is_terminal else publish_state
    publish(connection, job_id, state)


def preview_uri(pixels: np.ndarray) -> str:
    """A (h, w, 3) uint8 picture as a WebP data: URI of at most MAX_PREVIEW_BYTES; shrunk until it fits."""
    picture = Image.fromarray(pixels)
    while True:
        for quality in (75, 40):
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=quality, method=0)
            uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
            if len(uri) <= MAX_PREVIEW_BYTES:
                return uri
        picture = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)), Image.Resampling.BOX)
