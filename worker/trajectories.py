"""The steps of an image, kept: the estimates x0 in float16, some in a file, so that one is found without the others.

A file is a numpy array (n, c, h, w): what the model took the end to be after n steps in a row.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.jobs.storage import steps_key
from app.jobs.store import Claim, TrajectoryPart

# How many steps a file holds at most: they wait in memory until it is full.
STEPS_A_FILE = 32

LARGEST = float(np.finfo(np.float16).max)

Estimate = NDArray[np.float16]


class Trajectory:
    """The steps of one image on their way into files."""

    def __init__(self, claim: Claim, index: int, put: Callable[[str, bytes], None]) -> None:
        """Keep those of the claim's image `index`; `put` stores a file, or raises."""
        self._claim = claim
        self._index = index
        self._put = put
        self._first = 0
        self._waiting: list[Estimate] = []
        self._parts: list[TrajectoryPart] = []

    def add(self, step: int, x0: Any) -> None:
        """Take in the estimate after `step`, which follows the last one. Of a GPU's tensor a copy is made here."""
        # The first ones of an untamed model may be larger than half precision can say.
        estimate: Estimate = x0.clamp(-LARGEST, LARGEST).half().cpu().numpy()
        # The second stage of a job has latents of another shape.
        if self._waiting and (len(self._waiting) == STEPS_A_FILE or estimate.shape != self._waiting[0].shape):
            self._write()
        if not self._waiting:
            self._first = step
        self._waiting.append(estimate)

    def close(self) -> tuple[TrajectoryPart, ...]:
        """Write what is left; returns where everything lies."""
        if self._waiting:
            self._write()
        return tuple(self._parts)

    def _write(self) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.stack(self._waiting), allow_pickle=False)
        data = buffer.getvalue()
        key = steps_key(self._claim.job_id, self._claim.attempt, self._index, self._first)
        self._put(key, data)
        digest = hashlib.sha256(data).hexdigest()
        self._parts.append(TrajectoryPart(self._first, len(self._waiting), key, digest))
        self._waiting = []


def estimate_in(data: bytes, place: int) -> Estimate:
    """The estimate (c, h, w) at this place of a file. Raises: ValueError for what is no such file."""
    kept: Estimate = np.load(io.BytesIO(data), allow_pickle=False)
    if kept.ndim != 4 or not 0 <= place < len(kept):
        raise ValueError(f"the file must hold estimate {place}, got {kept.shape}")
    estimate: Estimate = kept[place]
    return estimate
