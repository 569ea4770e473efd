"""Pictures that are no scenes: gradients, edges, text, stone, fur and leaves. An upscaler must know more than emoji.

Each is drawn at twice its size and shrunk, so that its edges are smooth.
Axes: h, w pixels (square pictures), 3 colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?&"
_FINER = 2


def draw_texture(rng: np.random.Generator, size: int) -> Pixels:
    """One of the kinds by lot: (size, size, 3)."""
    kind = TEXTURES[list(TEXTURES)[int(rng.integers(len(TEXTURES)))]]
    return kind(rng, size)


def gradient(rng: np.random.Generator, size: int) -> Pixels:
    """A smooth passage between two colours, straight or round."""
    y, x = np.mgrid[0:size, 0:size] / size
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        place = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle) + 0.5
    else:
        place = np.hypot(x - rng.random(), y - rng.random())
    return _coloured(rng, np.clip(place, 0, 1))


def edges(rng: np.random.Generator, size: int) -> Pixels:
    """Stripes, squares or polygons with sharp edges at any angle."""
    side = size * _FINER
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.4:
        period, angle = rng.uniform(6, 40) * _FINER, rng.uniform(0, math.pi)
        y, x = np.mgrid[0:side, 0:side]
        bands = ((x * math.cos(angle) + y * math.sin(angle)) // period).astype(int) % 2
        if rng.random() < 0.5:
            bands ^= ((y * math.cos(angle) - x * math.sin(angle)) // period).astype(int) % 2
        first, second = np.array(_colour(rng)), np.array(_colour(rng))
        return _shrunk(Image.fromarray(np.where(bands[..., None] > 0, first, second).astype(np.uint8)), size)
    for _ in range(int(rng.integers(3, 12))):
        points = [tuple(point) for point in rng.uniform(-0.2, 1.2, (int(rng.integers(2, 6)), 2)) * side]
        if len(points) == 2:
            draw.line(points, fill=_colour(rng), width=int(rng.integers(1, 10)))
        else:
            draw.polygon(points, fill=_colour(rng))
    return _shrunk(image, size)


def text(rng: np.random.Generator, size: int) -> Pixels:
    """Lines of random letters."""
    side = size * _FINER
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    height = int(rng.uniform(12, 48) * _FINER)
    font, colour = ImageFont.load_default(height), _colour(rng)
    for top in range(int(-rng.integers(height)), side, int(1.2 * height)):
        line = "".join(_LETTERS[place] for place in rng.integers(len(_LETTERS), size=4 * side // height + 1))
        draw.text((-int(rng.integers(height)), top), line, fill=colour, font=font)
    return _shrunk(image, size)


def stone(rng: np.random.Generator, size: int) -> Pixels:
    """Noise of many sizes, in two colours (fractal value noise)."""
    height = np.zeros((size, size), np.float32)
    cells, weight, total = int(rng.integers(2, 6)), 1.0, 0.0
    roughness = rng.uniform(0.35, 0.65)
    while cells < size:
        grid = Image.fromarray(rng.random((cells + 1, cells + 1)).astype(np.float32))
        height += weight * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
        cells, total, weight = 2 * cells, total + weight, weight * roughness
    return _coloured(rng, np.clip(height / total * 1.6 - 0.3, 0, 1))


def fur(rng: np.random.Generator, size: int) -> Pixels:
    """Short hairs that mostly lie one way."""
    side = size * _FINER
    first, second = np.array(_colour(rng)), np.array(_colour(rng))
    image = Image.new("RGB", (side, side), tuple(int(part) for part in first))
    draw = ImageDraw.Draw(image)
    angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(8, 24) * _FINER
    hairs = 3 * size
    shares, bends = rng.random(hairs), rng.normal(0, 0.35, hairs)
    for (x, y), share, bend in zip(rng.uniform(-0.1, 1.1, (hairs, 2)) * side, shares, bends, strict=True):
        dx, dy = length * math.cos(angle + bend), length * math.sin(angle + bend)
        fill = tuple(int(part) for part in first + share * (second - first))
        draw.line([(x, y), (x + dx, y + dy)], fill=fill, width=int(rng.integers(1, 4)))
    return _shrunk(image, size)


def leaves(rng: np.random.Generator, size: int) -> Pixels:
    """Pointed leaves over each other, each with its vein."""
    side = size * _FINER
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    base, spread = np.array(_colour(rng)), rng.uniform(10, 50)
    for _ in range(int(rng.integers(12, 40))):
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.35) * side
        along = np.array([math.cos(angle), math.sin(angle)]) * length
        across = np.array([-along[1], along[0]]) * rng.uniform(0.15, 0.3)
        places = np.linspace(0, 1, 9)
        bow = np.sin(math.pi * places)[:, None]
        rims = [places[:, None] * along + sign * bow * across for sign in (1, -1)]
        outline = np.concatenate([rims[0], rims[1][::-1]]) + np.array([x, y])
        fill = np.clip(base + rng.normal(0, spread, 3), 0, 255)
        draw.polygon([tuple(point) for point in outline], fill=tuple(int(part) for part in fill))
        vein = tuple(int(part) for part in fill * 0.7)
        draw.line([(x, y), (x + along[0], y + along[1])], fill=vein, width=_FINER)
    return _shrunk(image, size)


TEXTURES: dict[str, Callable[[np.random.Generator, int], Pixels]] = {
    "gradient": gradient,
    "edges": edges,
    "text": text,
    "stone": stone,
    "fur": fur,
    "leaves": leaves,
}


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(part) for part in rng.integers(0, 256, 3))
    return red, green, blue


def _coloured(rng: np.random.Generator, places: NDArray[np.floating]) -> Pixels:
    """Places 0..1 (h, w) as colours from one to another."""
    first, second = np.array(_colour(rng), np.float32), np.array(_colour(rng), np.float32)
    pixels: Pixels = np.rint(first + places[..., None] * (second - first)).astype(np.uint8)
    return pixels


def _shrunk(image: Image.Image, size: int) -> Pixels:
    return np.array(image.resize((size, size), Image.Resampling.BOX))
