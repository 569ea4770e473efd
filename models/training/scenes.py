"""Scenes: what is where, drawn by lot from a stage; one seed, stage and split always give the same scene."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import get_args
from zlib import crc32

import numpy as np

from models.training import layouts
from models.training.captions import describe
from models.training.domain import (
    SPLITS,
    Backdrop,
    Layout,
    Relation,
    Scene,
    Split,
    Stage,
    Thing,
    is_held_out,
)
from models.training.layouts import Cast

_RELATIONS: tuple[Relation, ...] = get_args(Relation)
_NUM_THINGS: dict[Layout, int] = {"single": 1, "one": 1, "two": 2, "three": 3, "pair": 2, "relation": 2}
# Far more than the one in ten that a held-out pair needs: only a stage without any such pair gets here.
_MAX_DRAWS = 10_000


def draw_scene(seed: int, stage: Stage, split: Split) -> Scene:
    """The scene of this seed, with its caption.

    In "train" no two of its things and backdrop are a held-out pair; in "held_out" at least two are.
    Raises: ValueError for a negative seed, an unknown split, or a stage that has no scene for the split.
    """
    rng = _generator(seed, stage, split)
    layout = _draw_layout(rng, stage)
    things, backdrop = _draw_cast(rng, stage, split, layout)
    casts = _draw_sizes(rng, stage, layout, things)
    scene = _arrange(rng, stage, layout, casts, backdrop)
    return replace(scene, caption=describe(scene, rng))


def _generator(seed: int, stage: Stage, split: Split) -> np.random.Generator:
    """The only source of chance for one scene."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return np.random.Generator(np.random.PCG64((seed, crc32(stage.name.encode()), SPLITS.index(split))))


def _draw_layout(rng: np.random.Generator, stage: Stage) -> Layout:
    names = tuple(stage.layouts)
    limits = np.cumsum(tuple(stage.layouts.values()))
    return names[int(np.searchsorted(limits, float(rng.random()) * limits[-1], side="right"))]


def _draw_cast(
    rng: np.random.Generator, stage: Stage, split: Split, layout: Layout
) -> tuple[tuple[Thing, ...], Backdrop]:
    """What is in the scene: one thing as often as the layout needs it, or two different ones; and where."""
    num_kinds = 2 if layout in ("pair", "relation") else 1
    for _ in range(_MAX_DRAWS):
        things = tuple(stage.things[int(rng.integers(len(stage.things)))] for _ in range(num_kinds))
        backdrop = stage.backdrops[int(rng.integers(len(stage.backdrops)))]
        names = [thing.name for thing in things]
        pairs = combinations([*names, backdrop.name], 2)
        if (
            any(is_held_out(*pair) for pair in pairs) == (split == "held_out")
            and len(set(names)) == num_kinds
            and not any(thing.colour in backdrop.colours for thing in things)
        ):
            return things * (_NUM_THINGS[layout] // num_kinds), backdrop
    raise ValueError(f"stage {stage.name!r} has no scene for split {split!r}")


def _draw_sizes(rng: np.random.Generator, stage: Stage, layout: Layout, things: tuple[Thing, ...]) -> tuple[Cast, ...]:
    """A size for every thing; things of one kind share it."""
    ranges = stage.size_ranges[layout]
    words = tuple(ranges)
    casts: dict[str, Cast] = {}
    for thing in things:
        if thing.name not in casts:
            word = words[int(rng.integers(len(words)))]
            casts[thing.name] = Cast(thing, word, float(rng.uniform(*ranges[word])))
    return tuple(casts[thing.name] for thing in things)


def _arrange(
    rng: np.random.Generator, stage: Stage, layout: Layout, casts: tuple[Cast, ...], backdrop: Backdrop
) -> Scene:
    relation: Relation | None = None
    match layout, casts:
        case (("pair" | "relation"), (first, second)):
            relation = _RELATIONS[int(rng.integers(len(_RELATIONS)))]
            items = layouts.related(rng, stage, (first, second), backdrop, relation)
        case "three", _ if rng.random() < 0.4:
            items = layouts.triangle(rng, stage, casts, backdrop)
        case (("two" | "three"), _):
            items = layouts.row(rng, stage, casts, backdrop)
        case _:
            items = (layouts.single(rng, stage, casts[0], backdrop),)
    variant = int(rng.integers(backdrop.num_variants))
    return Scene(backdrop, variant, layout, items, relation if relation and layout == "relation" else "")
