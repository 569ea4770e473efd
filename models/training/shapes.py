"""Coloured shapes: drawn large, with light from above and a rim so that they are seen anywhere."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from models.training.domain import Thing

SHAPE_COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (226, 50, 48),
    "orange": (247, 136, 34),
    "yellow": (252, 207, 48),
    "green": (70, 168, 72),
    "blue": (48, 112, 214),
    "purple": (132, 72, 190),
    "pink": (246, 126, 174),
    "white": (250, 250, 248),
    "black": (48, 48, 54),
}

Point = tuple[float, float]
_SIDE = 128
_OVERSAMPLING = 4
_OUTLINE = 0.05


def _regular(corners: int, inner: float = 1.0) -> list[Point]:
    """A polygon with its first corner up; with `inner` < 1 a star with that many tips."""
    turns = [(k / corners, 1.0 if k % 2 == 0 or inner == 1.0 else inner) for k in range(corners)]
    return [(0.5 * r * sin(2 * pi * turn), -0.5 * r * cos(2 * pi * turn)) for turn, r in turns]


def _heart() -> list[Point]:
    angles = np.linspace(0, 2 * pi, 120, endpoint=False)
    return [(sin(t) ** 3 / 2, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 32) for t in angles]


# Outlines around the origin, about one wide: made when first drawn.
SHAPES: dict[str, Callable[[], list[Point]]] = {
    "circle": lambda: _regular(120),
    "square": lambda: [(-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45)],
    "triangle": lambda: _regular(3),
    "star": lambda: _regular(10, inner=0.5),
    "heart": _heart,
}


def coloured_shapes() -> tuple[Thing, ...]:
    """Every shape in every colour."""
    return tuple(Thing(f"{colour} {shape}", shape=shape, colour=colour) for shape in SHAPES for colour in SHAPE_COLOURS)


def draw_shape(thing: Thing) -> Image.Image:
    """The shape on transparent paper, with room around it."""
    side = _SIDE * _OVERSAMPLING
    outline = SHAPES[thing.shape]()
    mask, core = (Image.new("L", (side, side)) for _ in range(2))
    for paper, scale in ((mask, 0.94), (core, 0.94 - 2 * _OUTLINE)):
        points = [((0.5 + scale * x) * side, (0.5 + scale * y) * side) for x, y in outline]
        ImageDraw.Draw(paper).polygon(points, fill=255)
    alpha = np.asarray(mask.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)
    inside = np.asarray(core.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)[:, :, None] / 255
    light = np.linspace(1.10, 0.88, _SIDE, dtype=np.float32)[:, None, None]
    colour = np.array(SHAPE_COLOURS[thing.colour], dtype=np.float32)
    # black gets a lighter rim, or it would be lost at night
    rim = 0.72 * colour if colour.mean() > 64 else 2.0 * colour
    pixels = np.clip(colour * light, 0, 255) * inside + rim * (1 - inside)
    return Image.fromarray(np.dstack([pixels, alpha]).round().astype(np.uint8), "RGBA")
