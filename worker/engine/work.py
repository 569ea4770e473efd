"""What the engine develops, and whom it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from models import Request, Row


@dataclass(slots=True)
class Seconds:
    """Where the time went for one piece of work; a step that was shared counts whole for each who shared it."""

    text_s: float = 0.0
    denoise_s: float = 0.0
    decode_s: float = 0.0


class Model(Protocol):
    """A `models.Pipeline`, or what stands for one that may not be in memory; what it does is said there."""

    def begin(self, request: Request) -> list[Row]:
        """The rows of a request, before their first step."""

    def step(self, rows: Sequence[Row]) -> None:
        """One denoising step for every row."""

    def finish(self, row: Row) -> np.ndarray:
        """The picture of a row."""

    def preview(self, x0: Tensor) -> np.ndarray:
        """A small picture of an estimate."""


class Work(Protocol):
    """One request and what to do with what becomes of it.

    `owner` is whom its share of the device is counted for; work that `is_low` waits while any other is in hand.
    `step_cost` is what one step of one image costs, in whatever unit all works share. All methods are called on the
    engine's thread and must not block, but for `is_wanted`, which is called on the encoder's as well.
    """

    pipeline: Model
    request: Request
    owner: str
    is_low: bool
    step_cost: float

    def is_wanted(self) -> bool:
        """Whether to go on; asked before the text is encoded, and before every step."""

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        """All rows of the work, and those that were just brought one step further."""

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        """One image is done: (h, w, 3) uint8."""

    def completed(self, seconds: Seconds) -> None:
        """All images are done."""

    def dropped(self) -> None:
        """The work was no longer wanted, and has left."""

    def failed(self, error: Exception) -> None:
        """The pipeline raised; nothing more will come of this work."""


class Presence(Protocol):
    """Which pipelines are in memory. All methods may be called on any thread; only `bring` takes long."""

    def is_here(self, pipeline: Model) -> bool:
        """Whether a step of it could begin at once."""

    def bring(self, pipeline: Model) -> None:
        """Bring it in, in the place of others if need be. Raises: whatever comes in between."""

    @property
    def may_swap(self) -> bool:
        """Whether what was brought in last has been here for long enough to have been worth it."""

    @property
    def is_loading(self) -> bool:
        """Whether one is on its way."""


class AllHere:
    """The presence of pipelines that are always in memory; of those that have names, theirs are `here`."""

    may_swap = True
    is_loading = False
    slice_s = 0.0

    def __init__(self, *here: str) -> None:
        self.here: Sequence[str] = here

    def is_here(self, pipeline: Model) -> bool:
        """It is."""
        return True

    def bring(self, pipeline: Model) -> None:
        """Nothing to do."""
