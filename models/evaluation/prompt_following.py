"""Analysis by synthesis: which scene, of all that a stage can hold, looks most like this picture?

Scenes of one thing are drawn by a known renderer, so a picture can be compared with every thing on every backdrop at
every size and place; the nearest names what it shows. Nothing is trained. How often it names real scenes rightly is
reported beside every score, since no score can be trusted further than that.

Axes: m candidates, n pictures, d numbers of one shrunken picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from models.training import layouts
from models.training.domain import Backdrop, Item, Scene, Split, Stage, Thing
from models.training.pictures import render
from models.training.scenes import draw_scene

Pictures = NDArray[np.uint8]
"""(n, h, w, 3)."""

SIDE = 32  # pictures are shrunken to this side, so that a pixel of jitter matters little


@dataclass(frozen=True, slots=True)
class Score:
    """A share of n trials, with Wilson's 95 % interval."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        """hits / trials."""
        return self.hits / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Source: Wilson 1927."""
        n, p, z = self.trials, self.share, 1.959964
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.share:.1f} % ({100 * low:.0f}..{100 * high:.0f})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many of the pictures show the thing, the backdrop, and both, that they should."""

    thing: Score
    backdrop: Score
    both: Score


class Judge:
    """Names the thing and the backdrop of pictures of one thing."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.candidates = candidate_scenes(stage)
        drawn = np.stack([shrunken(render(scene, size)[None])[0] for scene in self.candidates])
        self.vectors = drawn.reshape(len(drawn), -1)  # (m, d)
        self.squares = np.square(self.vectors).sum(axis=1)  # (m,)

    def names(self, pictures: Pictures) -> list[tuple[str, str]]:
        """The thing and the backdrop of each picture, by the smallest squared error."""
        flat = shrunken(pictures).reshape(len(pictures), -1)  # (n, d)
        # |v - p|^2 without |p|^2, which is the same for all candidates
        errors = self.squares[None] - 2.0 * flat @ self.vectors.T  # (n, m)
        nearest = [self.candidates[int(place)] for place in errors.argmin(axis=1)]
        return [(scene.items[0].thing.name, scene.backdrop.name) for scene in nearest]

    def verdict(self, pictures: Pictures, scenes: Sequence[Scene]) -> Verdict:
        """How many pictures show what their scenes say."""
        wanted = [(scene.items[0].thing.name, scene.backdrop.name) for scene in scenes]
        named = self.names(pictures)
        pairs = list(zip(named, wanted, strict=True))
        return Verdict(
            thing=Score(sum(name[0] == want[0] for name, want in pairs), len(pairs)),
            backdrop=Score(sum(name[1] == want[1] for name, want in pairs), len(pairs)),
            both=Score(sum(name == want for name, want in pairs), len(pairs)),
        )


def candidate_scenes(stage: Stage) -> list[Scene]:
    """Every thing on every view of every backdrop, at every size in every column.

    Raises: ValueError for a stage whose single things may be anywhere: too many places to try.
    """
    if not stage.columns or set(stage.layouts) != {"single"}:
        raise ValueError(f"stage {stage.name!r} is not one of single things in columns")
    scenes: list[Scene] = []
    for thing, backdrop in product(stage.things, stage.backdrops):
        for variant, item in product(range(backdrop.num_variants), places(stage, thing, backdrop)):
            scenes.append(Scene(backdrop, variant, "single", (item,)))
    return scenes


def places(stage: Stage, thing: Thing, backdrop: Backdrop) -> list[Item]:
    """Where a stage puts a single thing: every size in every column, without straying."""
    unused = np.random.default_rng(0)  # with one column and no jitter nothing is left to chance
    items = []
    for word, (low, high) in stage.size_ranges["single"].items():
        for column in stage.columns:
            fixed = replace(stage, columns=(column,), jitter=0.0)
            items.append(layouts.single(unused, fixed, layouts.Cast(thing, word, (low + high) / 2), backdrop))
    return items


def captioned(stage: Stage, split: Split, count: int) -> list[Scene]:
    """Scenes whose captions name both thing and backdrop, so that the picture can be right or wrong about both."""
    scenes: list[Scene] = []
    seed = 1_000_000  # far from the seeds of training
    while len(scenes) < count:
        scene = draw_scene(seed, stage, split)
        words = [*scene.backdrop.phrases, *scene.backdrop.nouns]
        if any(word in scene.caption for word in words):
            scenes.append(scene)
        seed += 1
    return scenes


def shrunken(pictures: Pictures) -> NDArray[np.float32]:
    """Pictures at SIDE x SIDE by box averages, in 0..1: (n, SIDE, SIDE, 3).

    Raises: ValueError unless both sides are multiples of SIDE.
    """
    n, height, width, _ = pictures.shape
    if height % SIDE or width % SIDE:
        raise ValueError(f"height and width must be multiples of {SIDE}, got {(height, width)}")
    cells = pictures.reshape(n, SIDE, height // SIDE, SIDE, width // SIDE, 3)
    means: NDArray[np.float32] = cells.mean(axis=(2, 4), dtype=np.float32) / np.float32(255.0)
    return means
