"""Enlargements that agree with their originals: averaged over boxes, they are the small picture again.

Axes: b batch, c channels, h height, w width of the small picture, s scale.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_ROUNDS = 2

# Each halves the interval; the first is 4 wide, so this leaves 2e-7.
_HALVINGS = 24


def box_average(image: Tensor, scale: int) -> Tensor:
    """The mean of every scale x scale box: (..., c, s h, s w) to (..., c, h, w)."""
    return F.avg_pool2d(image, scale)


def keep_colours(image: Tensor, small: Tensor) -> Tensor:
    """The picture with the error of its box averages taken off smoothly: what is drawn stays, colours are put right.

    Shapes: image (b, c, s h, s w), small (b, c, h, w) in [-1, 1]. Returns (b, c, s h, s w).
    Raises: as `project`.
    Source: Irani & Peleg 1991, "Improving resolution by image registration" (back-projection), with a bicubic kernel.
    """
    scale = _scale(image, small)
    for _ in range(_ROUNDS):
        error = small - box_average(image, scale)
        image = (image + F.interpolate(error, scale_factor=scale, mode="bicubic")).clamp(-1, 1)
    return image


def project(image: Tensor, small: Tensor) -> Tensor:
    """The picture nearest to `image` whose box averages are `small`, with pixels in [-1, 1].

    Nearest by squared error: every box is moved by one number and clipped, and the number is found by halving
    the interval in which it must lie.
    Shapes: image (c, s h, s w), small (c, h, w) in [-1, 1]. Returns (c, s h, s w).
    Raises: ValueError if the sides of one are not the same multiple of the other's.
    """
    scale = _scale(image, small)
    image = image.clamp(-1, 1)
    low, high = torch.full_like(small, -2.0), torch.full_like(small, 2.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_dark = box_average(_moved(image, middle, scale), scale) < small
        low, high = torch.where(too_dark, middle, low), torch.where(too_dark, high, middle)
    return _moved(image, (low + high) / 2, scale)


def _scale(image: Tensor, small: Tensor) -> int:
    *others, height, width = small.shape
    scale = int(image.shape[-1] // width)
    if tuple(image.shape) != (*others, scale * height, scale * width):
        raise ValueError(f"{tuple(image.shape)} is no whole multiple of {tuple(small.shape)}")
    return scale


def _moved(image: Tensor, by: Tensor, scale: int) -> Tensor:
    grown = by.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)
    return (image + grown).clamp(-1, 1)
