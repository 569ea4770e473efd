"""What is missing from a picture: random masks for the inpaint rows of training.

Axes: b batch, h height, w width (pixels).
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.training.batches import uniform


def draw_masks(boxes: tuple[Tensor, ...], size: int, generator: torch.Generator) -> Tensor:
    """One mask a picture, 1 = to be painted: half of them cover an object with some room, half lie anywhere.

    Returns: (b, 1, size, size) float32 of 0 and 1; each mask covers at least an eighth of each side.
    """
    masks = torch.zeros(len(boxes), 1, size, size)
    for row, corners in enumerate(boxes):
        chance, *where = uniform(5, generator).tolist()
        if chance < 0.5 and len(corners):
            x0, y0, x1, y1 = corners[int(where[0] * len(corners))].tolist()
            room = 0.15 * where[1]
        else:
            width, height = 0.2 + 0.6 * where[0], 0.2 + 0.6 * where[1]
            x0, y0 = (1.0 - width) * where[2], (1.0 - height) * where[3]
            x1, y1, room = x0 + width, y0 + height, 0.0
        left, top = (max(0, int((low - room) * size)) for low in (x0, y0))
        right, bottom = (min(size, int((high + room) * size) + 1) for high in (x1, y1))
        masks[row, 0, top:bottom, left:right] = 1.0
    return masks
