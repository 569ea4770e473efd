"""Two stages of one job: what the first pipeline develops, the second makes larger, while the first goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from app.jobs.store import Failed
from worker.developing import Outlet
from worker.engine import Seconds, Work

if TYPE_CHECKING:
    import numpy as np

Enlarge = Callable[[Outlet, int, int, "np.ndarray"], Work]
"""The work of making image `index`, developed from a seed, larger; what comes of it goes to the outlet."""


class SecondStage:
    """The outlet of the first stage: has every picture made larger, and passes on what comes of it.

    Everything is called on the engine's thread.
    """

    def __init__(self, outlet: Outlet, num_images: int, enlarge: Enlarge, submit: Callable[[Work], None]) -> None:
        """Publish `num_images` through `outlet` when they are larger; `submit` gives work to the engine."""
        self._outlet = outlet
        self._enlarge = enlarge
        self._submit = submit
        self._missing = num_images
        self._seconds = Seconds()
        self._is_over = False

    @property
    def is_wanted(self) -> bool:
        """Whether the job may still end well."""
        return not self._is_over and self._outlet.is_wanted

    def keep(self, index: int, step: int, x0: Any) -> None:
        """Pass on a step, of either stage."""
        self._outlet.keep(index, step, x0)

    def add(self, index: int, seed: int, pixels: np.ndarray) -> None:
        """Have a picture made larger."""
        if not self._is_over:
            self._submit(self._enlarge(_Enlarged(self), index, seed, pixels))

    def take(self, index: int, seed: int, pixels: np.ndarray) -> None:
        """Pass on a picture that was made larger."""
        self._missing -= 1
        self._outlet.add(index, seed, pixels)

    def publish(self, seconds: Seconds) -> None:
        """One part of the work is done, and took `seconds`; the last one publishes."""
        self._seconds = Seconds(*map(sum, zip(astuple(self._seconds), astuple(seconds), strict=True)))
        if self._missing == 0 and not self._is_over:
            self._is_over = True
            self._outlet.publish(self._seconds)

    def fail(self, failure: Failed) -> None:
        """End the job as failed, whichever part of it failed first."""
        if not self._is_over:
            self._is_over = True
            self._outlet.fail(failure)

    def abandon(self) -> None:
        """Publish nothing, whichever part of the job was dropped first."""
        if not self._is_over:
            self._is_over = True
            self._outlet.abandon()


class _Enlarged:
    """The outlet of one picture's second stage: the first stage's, but what it adds needs no second."""

    def __init__(self, stage: SecondStage) -> None:
        self._stage = stage
        self.keep = stage.keep
        self.add = stage.take
        self.publish = stage.publish
        self.fail = stage.fail
        self.abandon = stage.abandon

    @property
    def is_wanted(self) -> bool:
        return self._stage.is_wanted
