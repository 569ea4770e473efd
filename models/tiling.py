"""Pictures larger than a network was made for: overlapping tiles, blended where they meet.

Axes: b batch, c channels, h height, w width. What is cut is cells of latents; what a network makes of a tile may
be `scale` times as large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# The share of an overlap, on either side, that counts nothing: cells near a cut see least of what is around them.
_MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of at most height x width cells, neighbours sharing at least `overlap` of them.

    Raises: ValueError unless 1 <= overlap <= half of a side.
    """

    height: int
    width: int
    overlap: int

    def __post_init__(self) -> None:
        if not 1 <= self.overlap <= min(self.height, self.width) // 2:
            raise ValueError(f"overlap must be 1 to half of {self.height} x {self.width}, got {self.overlap}")


def in_tiles(function: Callable[[Tensor], Tensor], x: Tensor, tiling: Tiling, scale: int = 1) -> Tensor:
    """What `function` makes of x, tile by tile: a mean weighted smoothly from one tile to the next.

    Shapes: x (b, c, h, w); function maps (b, c, h', w') to (b, d, scale h', scale w') for any h', w' up to the
    tile's. Returns (b, d, scale h, scale w) float32. Where x is one tile, function(x) itself.
    Source: Bar-Tal et al. 2023 (MultiDiffusion), eq. 5, with weights that fall towards the tiles' edges.
    """
    height, width = x.shape[-2:]
    if height <= tiling.height and width <= tiling.width:
        return function(x)
    rows, columns = _spans(height, tiling.height, tiling.overlap), _spans(width, tiling.width, tiling.overlap)
    total, weights = torch.zeros(()), torch.zeros(scale * height, scale * width, device=x.device)
    for top, bottom in rows:
        vertical = _ramp(top, bottom, height, tiling.overlap, scale).to(x.device)
        for left, right in columns:
            weight = vertical[:, None] * _ramp(left, right, width, tiling.overlap, scale).to(x.device)
            answer = function(x[..., top:bottom, left:right])
            if total.ndim == 0:
                total = weights.new_zeros(*answer.shape[:2], *weights.shape)
            place = (..., slice(scale * top, scale * bottom), slice(scale * left, scale * right))
            total[place] += weight * answer.float()
            weights[place] += weight
    return total / weights


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end: as few as will do, evenly spread."""
    if length <= size:
        return [(0, length)]
    last = -(-(length - size) // (size - overlap))
    begins = [round(index * (length - size) / last) for index in range(last + 1)]
    return [(begin, begin + size) for begin in begins]


def _ramp(begin: int, end: int, length: int, overlap: int, scale: int) -> Tensor:
    """The weights of a tile along one side, (scale (end - begin),): 1, but smoothly down to 0 where it was cut."""
    places = torch.arange(scale * (end - begin)) + 0.5
    ramp = torch.ones_like(places)
    if begin > 0:
        ramp = ramp * _smooth(places / (scale * overlap))
    if end < length:
        ramp = ramp * _smooth(places.flip(0) / (scale * overlap))
    return ramp


def _smooth(depth: Tensor) -> Tensor:
    """0 up to the margin, 1 from where the other tile's margin begins, smoothstep between."""
    share = ((depth - _MARGIN) / (1 - 2 * _MARGIN)).clamp(0, 1)
    return share * share * (3 - 2 * share)
