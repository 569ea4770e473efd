"""Which models are in memory: brought in when one is asked for, and the one unused for longest let go to make room.

Nothing here knows what a model computes, nor imports torch. A model that others are waiting to replace is let go as
soon as the call that uses it returns: between two steps of its rows, which lose nothing by it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from worker.engine import Model

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from models import Pipeline, Request, Row, Survey
    from models.preview import LatentToRgb

log = structlog.get_logger()

# A model that was brought in is used for so many times as long as that took before another takes its place.
WORTH_LOADING = 5.0


class CannotLoad(Exception):
    """A model that is offered could not be brought into memory; the cause says why."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name} could not be loaded")
        self.name = name


class Residency:
    """The pipelines in memory, whose weights together take at most `budget_bytes`. For any thread."""

    def __init__(
        self,
        budget_bytes: int,
        load: Callable[[str], Pipeline],
        tidy: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold nothing yet; `load(name)` makes a pipeline, `tidy()` is called when some were let go."""
        self.budget_bytes = budget_bytes
        self._load = load
        self._tidy = tidy
        self._clock = clock
        self._changed = threading.Condition()
        # Least recently used first.
        self._here: dict[str, Pipeline] = {}
        self._sizes: dict[str, int] = {}
        self._in_use: Counter[str] = Counter()
        self._is_loading = False
        self._loaded_at = 0.0
        self.slice_s = 0.0

    @property
    def here(self) -> Sequence[str]:
        """The models in memory, the one used last at the end."""
        with self._changed:
            return tuple(self._here)

    @property
    def held_bytes(self) -> int:
        """What the weights of those take."""
        with self._changed:
            return sum(self._sizes[name] for name in self._here)

    @property
    def is_loading(self) -> bool:
        """Whether one is on its way."""
        return self._is_loading

    @property
    def may_swap(self) -> bool:
        """Whether the model that was brought in last has been here for long enough to have been worth it."""
        return not self._is_loading and self._clock() - self._loaded_at >= self.slice_s

    def holds(self, name: str) -> bool:
        """Whether the model is in memory."""
        return name in self._here

    def is_here(self, pipeline: Model) -> bool:
        """Whether it could be used at once; what is no resident always can."""
        return not isinstance(pipeline, Resident) or pipeline.is_here

    def bring(self, pipeline: Model) -> None:
        """Bring it into memory. Raises: CannotLoad, or whatever says that there is too little."""
        if isinstance(pipeline, Resident):
            pipeline.bring()

    @contextmanager
    def using(self, name: str, size_bytes: int) -> Iterator[Pipeline]:
        """The pipeline, brought in first if it is not here; it stays until this ends.

        Raises: CannotLoad, or whatever says that there is too little memory.
        """
        pipeline = self._enter(name, size_bytes)
        try:
            yield pipeline
        finally:
            with self._changed:
                self._in_use[name] -= 1
                self._changed.notify_all()

    def _enter(self, name: str, size_bytes: int) -> Pipeline:
        with self._changed:
            # One at a time: two that come in at once would not see how much room the other takes.
            self._changed.wait_for(lambda: name in self._here or not self._is_loading)
            if name in self._here:
                pipeline = self._here[name] = self._here.pop(name)
                self._in_use[name] += 1
                return pipeline
            self._is_loading = True
            leaving = self._make_room(size_bytes)
            self._changed.wait_for(lambda: not any(self._in_use[one] for one in leaving))
        try:
            if leaving:
                self._tidy()
            pipeline = self._bring(name)
        except BaseException:
            with self._changed:
                self._is_loading = False
                self._changed.notify_all()
            raise
        with self._changed:
            self._here[name], self._sizes[name] = pipeline, size_bytes
            self._in_use[name] += 1
            self._is_loading = False
            self._changed.notify_all()
        return pipeline

    def _make_room(self, size_bytes: int) -> Sequence[str]:
        """Take away whatever is in the way, so that nobody begins to use it any more."""
        leaving: list[str] = []
        held = sum(self._sizes[name] for name in self._here)
        while self._here and held + size_bytes > self.budget_bytes:
            oldest = next(iter(self._here))
            del self._here[oldest]
            held -= self._sizes[oldest]
            leaving.append(oldest)
        for name in leaving:
            log.info("model.let_go", model=name)
        return leaving

    def _bring(self, name: str) -> Pipeline:
        started = self._clock()
        pipeline = self._load(name)
        self._loaded_at = self._clock()
        self.slice_s = WORTH_LOADING * (self._loaded_at - started)
        return pipeline


class Resident:
    """A model that is offered, as the engine uses it: whatever is asked of it brings it into memory first."""

    def __init__(self, survey: Survey, size_bytes: int, residency: Residency) -> None:
        """Offer what was surveyed, whose weights take `size_bytes` in memory, and stay in `residency`."""
        self.card = survey.card
        self.factor = survey.factor
        self.size_bytes = size_bytes
        self._residency = residency
        self._latent_to_rgb: LatentToRgb | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is in memory just now."""
        return self._residency.holds(self.card.name)

    def bring(self) -> None:
        """Bring it into memory. Raises: CannotLoad."""
        with self.using():
            pass

    def begin(self, request: Request) -> list[Row]:
        """As `Pipeline.begin`. Raises: CannotLoad besides."""
        with self.using() as pipeline:
            # Small, and all that a preview needs: looking must bring nothing in.
            self._latent_to_rgb = pipeline.latent_to_rgb
            return pipeline.begin(request)

    def step(self, rows: Sequence[Row]) -> None:
        """As `Pipeline.step`. Raises: CannotLoad besides."""
        with self.using() as pipeline:
            pipeline.step(rows)

    def finish(self, row: Row) -> np.ndarray:
        """As `Pipeline.finish`. Raises: CannotLoad besides."""
        with self.using() as pipeline:
            return pipeline.finish(row)

    def preview(self, x0: Tensor) -> np.ndarray:
        """As `Pipeline.preview`, also while the model is not here. Raises: LookupError before the first `begin`."""
        if self._latent_to_rgb is None:
            raise LookupError(f"nothing was begun with {self.card.name} yet")
        return self._latent_to_rgb.picture(x0)

    @contextmanager
    def using(self) -> Iterator[Pipeline]:
        """The pipeline itself, which stays in memory until this ends. Raises: CannotLoad."""
        with self._residency.using(self.card.name, self.size_bytes) as pipeline:
            yield pipeline
