"""Scenes as pixels, with the captions and boxes that are known because the scene was drawn.

Axes: h, w pixels (square pictures), 3 colours, k things in a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.training.backdrops import COLOURS
from models.training.canvas import Canvas
from models.training.domain import Backdrop, Item, Scene, Split, Stage
from models.training.landscapes import LANDSCAPES
from models.training.scenes import draw_scene
from models.training.sprites import shadow, sprite


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture with all that is known about it.

    picture (h, w, 3) uint8; boxes (k, 4) float32 as x0 y0 x1 y1 in 0..1, one a thing; object_ids the k names.
    """

    picture: NDArray[np.uint8]
    caption: str
    boxes: NDArray[np.float32]
    object_ids: tuple[str, ...]


def sample(seed: int, stage: Stage, size: int, split: Split) -> Sample:
    """The picture of this seed at size x size pixels, with its caption and boxes. See `draw_scene`."""
    scene = draw_scene(seed, stage, split)
    boxes = np.array([pixel_box(item, size) for item in scene.items], dtype=np.float32) / np.float32(size)
    ids = tuple(item.thing.name for item in scene.items)
    return Sample(render(scene, size), scene.caption, boxes, ids)


def render(scene: Scene, size: int) -> NDArray[np.uint8]:
    """The scene at size x size pixels: (h, w, 3)."""
    pixels = backdrop_pixels(scene.backdrop, scene.variant, size).copy()
    for item in scene.items:
        if item.casts_shadow:
            _lay_shadow(pixels, item)
    for item in scene.items:
        x0, y0, x1, y1 = pixel_box(item, size)
        colours, transparency = sprite(item.thing, x1 - x0, y1 - y0)
        under = pixels[y0:y1, x0:x1]
        # at most 255 * 255 + 127: it fits into 16 bits
        pixels[y0:y1, x0:x1] = (colours + under * transparency + 127) // 255
    return pixels


def pixel_box(item: Item, size: int) -> tuple[int, int, int, int]:
    """The pixels x0 y0 x1 y1 (ends excluded) of an item in a picture of this size, at least one each way."""
    width = max(1, round((item.x1 - item.x0) * size))
    height = max(1, round((item.y1 - item.y0) * size))
    x0 = min(max(0, round(item.x0 * size)), size - width)
    y0 = min(max(0, round(item.y0 * size)), size - height)
    return x0, y0, x0 + width, y0 + height


@lru_cache(maxsize=1024)
def backdrop_pixels(backdrop: Backdrop, variant: int, size: int) -> NDArray[np.uint8]:
    """The backdrop alone: (h, w, 3), shared and therefore read-only."""
    canvas = Canvas(size)
    if backdrop.colours:
        canvas.sky(*(COLOURS[colour] for colour in backdrop.colours))
    else:
        LANDSCAPES[backdrop.name](canvas, np.random.Generator(np.random.PCG64(variant)))
    pixels = canvas.finished()
    pixels.flags.writeable = False
    return pixels


def _lay_shadow(pixels: NDArray[np.uint8], item: Item) -> None:
    """Darken the ground at the item's feet, as far as it lies inside the picture."""
    size = pixels.shape[0]
    x0, _, x1, y1 = pixel_box(item, size)
    light = shadow(x1 - x0)
    top = y1 - light.shape[0] // 2 - light.shape[0] // 8
    light = light[: size - top]
    under = pixels[top : top + light.shape[0], x0:x1]
    pixels[top : top + light.shape[0], x0:x1] = (under * light + 127) // 255
