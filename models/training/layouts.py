"""Where things go: boxes inside the picture that do not touch each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.training.domain import Backdrop, Item, Relation, SizeWord, Stage, Thing
from models.training.sprites import extent

MARGIN = 0.03
# Where the feet of standing things are, and the middle of flying ones.
_GROUND = 0.92
_AIR = 0.44
# Between neighbours there is at least this.
_GAP = 0.025


@dataclass(frozen=True, slots=True)
class Cast:
    """A thing that has its size and awaits its place; `side` is its longer one."""

    thing: Thing
    size_word: SizeWord
    side: float

    @property
    def width(self) -> float:
        """Its width as a fraction of the picture's side."""
        return self.side * extent(self.thing)[0]

    @property
    def height(self) -> float:
        """Its height as a fraction of the picture's side."""
        return self.side * extent(self.thing)[1]

    def at(self, x0: float, y0: float, stands: bool) -> Item:
        """The item with its upper left corner here; what stands casts a shadow."""
        return Item(self.thing, self.size_word, x0, y0, x0 + self.width, y0 + self.height, stands)


def single(rng: np.random.Generator, stage: Stage, cast: Cast, backdrop: Backdrop) -> Item:
    """One thing: in one of the stage's columns standing, flying or floating as it likes, or anywhere."""
    column = stage.columns[int(rng.integers(len(stage.columns)))] if stage.columns else float(rng.random())
    # columns are places for a square of this side, so that narrow things do not stick to the picture's edge
    centre = MARGIN + cast.side / 2 + column * (1 - 2 * MARGIN - cast.side)
    x0 = _fit(centre - cast.width / 2 + _stray(rng, stage.jitter), cast.width)
    stands = _stands(cast, backdrop)
    if stands:
        y0 = _GROUND - cast.height
    elif stage.columns:
        y0 = (_AIR if backdrop.has_ground else 0.5) - cast.height / 2
    else:
        y0 = _anywhere(rng, cast.height)
    y0 = _fit(y0 + _stray(rng, stage.jitter), cast.height)
    return cast.at(x0, y0, stands)


def row(rng: np.random.Generator, stage: Stage, casts: Sequence[Cast], backdrop: Backdrop) -> tuple[Item, ...]:
    """Things from left to right: on one ground, or at about one height where there is none."""
    lefts = _spread(rng, [cast.width for cast in casts])
    tallest = max(cast.height for cast in casts)
    middle = tallest / 2 + _anywhere(rng, tallest)
    items = []
    for cast, x0 in zip(casts, lefts, strict=True):
        stands = _stands(cast, backdrop)
        y0 = _GROUND - cast.height if stands else middle - cast.height / 2
        items.append(cast.at(x0, _fit(y0 + _stray(rng, stage.jitter), cast.height), stands))
    return tuple(items)


def column(rng: np.random.Generator, casts: Sequence[Cast], backdrop: Backdrop) -> tuple[Item, ...]:
    """Things from top to bottom, the lowest on the ground where there is one."""
    tops = _spread(rng, [cast.height for cast in casts])
    widest = max(cast.width for cast in casts)
    middle = widest / 2 + _anywhere(rng, widest)
    items = []
    for cast, y0 in zip(casts, tops, strict=True):
        stands = cast is casts[-1] and _stands(cast, backdrop)
        lowest = max(y0, _GROUND - cast.height) if stands else y0
        items.append(cast.at(_fit(middle - cast.width / 2 + _stray(rng, 0.05), cast.width), lowest, stands))
    return tuple(items)


def triangle(rng: np.random.Generator, stage: Stage, casts: Sequence[Cast], backdrop: Backdrop) -> tuple[Item, ...]:
    """Three things: two below, and the third above the gap between them."""
    first, second = row(rng, stage, casts[:2], backdrop)
    top = casts[2]
    middle = (first.centre[0] + second.centre[0]) / 2
    highest = min(first.y0, second.y0) - _GAP - top.height
    if highest < MARGIN / 2:
        return row(rng, stage, casts, backdrop)
    return first, second, top.at(_fit(middle - top.width / 2, top.width), highest, stands=False)


def related(
    rng: np.random.Generator, stage: Stage, casts: tuple[Cast, Cast], backdrop: Backdrop, relation: Relation
) -> tuple[Item, ...]:
    """Two things, the first where `relation` says, seen from the second; in the order of `casts`."""
    first_comes_first = relation in ("left", "above")
    ordered = casts if first_comes_first else casts[::-1]
    across = relation in ("left", "right")
    items = row(rng, stage, ordered, backdrop) if across else column(rng, ordered, backdrop)
    return items if first_comes_first else items[::-1]


def _stands(cast: Cast, backdrop: Backdrop) -> bool:
    return backdrop.has_ground and not cast.thing.flies


def _stray(rng: np.random.Generator, reach: float) -> float:
    return float(rng.uniform(-reach, reach))


def _fit(start: float, length: float) -> float:
    """The nearest start for which start..start + length stays inside the picture."""
    return min(max(start, MARGIN / 2), 1 - MARGIN / 2 - length)


def _anywhere(rng: np.random.Generator, length: float) -> float:
    """Any start for which start..start + length stays inside the picture."""
    return MARGIN / 2 + float(rng.random()) * (1 - MARGIN - length)


def _spread(rng: np.random.Generator, lengths: Sequence[float]) -> list[float]:
    """Starts of these lengths one after the other, with the room that is left over shared out by lot."""
    spare = 1 - MARGIN - sum(lengths) - _GAP * (len(lengths) - 1)
    if spare < 0:
        raise ValueError(f"things of {[round(length, 3) for length in lengths]} do not fit beside each other")
    shares = np.sort(rng.random(len(lengths))) * spare
    starts, used = [], 0.0
    for share, length in zip(shares, lengths, strict=True):
        starts.append(MARGIN / 2 + float(share) + used)
        used += length + _GAP
    return starts
