"""What a storybook scene can hold: things, backdrops, and the stages in which a model learns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

Split = Literal["train", "held_out"]
SizeWord = Literal["small", "", "big"]
# One thing, one that is counted, several of a kind, two different ones, two that stand in a relation.
Layout = Literal["single", "one", "two", "three", "pair", "relation"]
Relation = Literal["left", "right", "above", "below"]
SPLITS: tuple[Split, ...] = get_args(Split)

# The first salt that keeps what people try first in training ("a fox in the snow", "a whale at sea") and
# takes no more than two combinations from any thing or backdrop of stage a.
_HELD_OUT_SALT = "storybook-829"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to draw: an emoji (`glyph`), or a shape of one colour (`shape` and `colour`)."""

    name: str
    glyph: str = ""
    synonyms: tuple[str, ...] = ()
    plural: str = ""
    flies: bool = False
    shape: str = ""
    colour: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it goes by, the usual one first."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What is behind the things: where it puts them (`phrases`), and what it is called by itself (`nouns`).

    A plain colour or a gradient has `colours`, top to bottom; a landscape has none and is painted by name.
    """

    name: str
    phrases: tuple[str, ...]
    nouns: tuple[str, ...]
    colours: tuple[str, ...] = ()
    has_ground: bool = False

    @property
    def num_variants(self) -> int:
        """How many slightly different views of it there are."""
        return 1 if self.colours else 4


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the curriculum. Everything a scene may contain is said here, nothing in code.

    `layouts` says how often each layout comes, `size_ranges` how long the longer side of a thing is in it for
    each size word (as part of the picture's side). `columns` are the places of a single thing, from 0 (left)
    to 1 (right); without them it may be anywhere. `jitter` is how far things stray from their places.
    """

    name: str
    things: tuple[Thing, ...]
    backdrops: tuple[Backdrop, ...]
    layouts: Mapping[Layout, float]
    size_ranges: Mapping[Layout, Mapping[SizeWord, tuple[float, float]]]
    columns: tuple[float, ...] = ()
    jitter: float = 0.02


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a scene, and its box in fractions of the picture's side, x to the right and y down."""

    thing: Thing
    size_word: SizeWord
    x0: float
    y0: float
    x1: float
    y1: float
    casts_shadow: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that decides a picture, and a caption that is true of it.

    `relation` says of two things where the first is, seen from the second; it is empty in the other layouts.
    """

    backdrop: Backdrop
    variant: int
    layout: Layout
    items: tuple[Item, ...]
    relation: Relation | Literal[""] = ""
    caption: str = ""


def is_held_out(first: str, second: str) -> bool:
    """Whether two names (thing and backdrop, or two things) never meet in training: about one pair in ten.

    The order does not matter, and the answer is the same on every machine and in every stage.
    """
    pair = "|".join(sorted((first, second)))
    return sha256(f"{_HELD_OUT_SALT}|{pair}".encode()).digest()[0] < 26
