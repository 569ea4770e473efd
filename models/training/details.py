"""Squares cut out of large scenes, and textures: what an upscaler learns from.

Axes: b batch, h height, w width (pixels).
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from models.training.batches import Batch
from models.training.domain import SPLITS, Split, Stage
from models.training.pictures import sample
from models.training.textures import draw_texture

# How large a scene is, beside the square that is cut from it: from the whole of it to a detail.
_SCENE_SIDES = (1.0, 1.5, 2.0, 3.0, 4.0)
# How many of the squares lie about one of the scene's things; the others lie anywhere, where mostly little is.
_ABOUT_THINGS = 0.7


def draw_detail(
    seed: int, stage: Stage, size: int, split: Split, *, texture_share: float
) -> tuple[NDArray[np.uint8], str]:
    """The square of this seed, (size, size, 3), and its scene's caption; a texture has none."""
    rng = np.random.Generator(np.random.PCG64((seed, crc32(b"details"), SPLITS.index(split))))
    if rng.random() < texture_share:
        return draw_texture(rng, size), ""
    side = round(size * _SCENE_SIDES[int(rng.integers(len(_SCENE_SIDES)))])
    scene = sample(seed, stage, side, split)
    left, top = _corner(rng, scene.boxes * side, side - size, size)
    return np.ascontiguousarray(scene.picture[top : top + size, left : left + size]), scene.caption


def _corner(rng: np.random.Generator, boxes: NDArray[np.float32], room: int, size: int) -> tuple[int, int]:
    """Where the square begins, x and y in 0..room; boxes (k, 4) in pixels."""
    if rng.random() >= _ABOUT_THINGS:
        left, top = (int(place) for place in rng.integers(0, room + 1, 2))
        return left, top
    x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
    x, y = rng.uniform((x0, y0), (x1, y1)) - size / 2
    return min(max(0, round(x)), room), min(max(0, round(y)), room)


def draw_details(
    stage: Stage,
    size: int,
    step: int,
    batch_size: int,
    *,
    texture_share: float,
    split: Split = "train",
    seed: int = 0,
) -> Batch:
    """The squares of one step: no two steps of a run share one. Textures have no captions, and nothing has boxes."""
    first = (seed << 40) + step * batch_size
    drawn = [draw_detail(first + index, stage, size, split, texture_share=texture_share) for index in range(batch_size)]
    pictures = torch.from_numpy(np.stack([picture for picture, _ in drawn]))
    return Batch(
        images=pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0,
        captions=tuple(caption for _, caption in drawn),
        boxes=tuple(torch.zeros(0, 4) for _ in drawn),
    )
