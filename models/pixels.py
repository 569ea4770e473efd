"""Pictures on their way in and out: 8 bit at the door, floats in [-1, 1] inside.

Axes: h height, w width (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.errors import RequestError
from models.networks.autoencoder import to_uint8

Picture = NDArray[np.uint8] | Tensor
"""(h, w, 3): uint8 in 0..255, or a float tensor in [-1, 1]."""


def as_image(picture: Picture) -> Tensor:
    """A picture as the networks see it: (1, 3, h, w) float32 in [-1, 1], on the CPU.

    Raises: RequestError for another shape, another type, or floats outside [-1, 1].
    """
    pixels = torch.as_tensor(picture).detach().cpu()
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.numel() == 0:
        raise RequestError("image", f"must be (height, width, 3), got {tuple(pixels.shape)}")
    image = pixels.permute(2, 0, 1)[None]
    if image.dtype == torch.uint8:
        return image.float() / 127.5 - 1.0
    if not image.is_floating_point():
        raise RequestError("image", f"must be uint8, or float in [-1, 1], got {image.dtype}")
    if not bool((image.abs() <= 1.0).all()):
        raise RequestError("image", f"must be in [-1, 1], got {image.min():g} to {image.max():g}")
    return image.float()


def pad(image: Tensor, height: int, width: int) -> Tensor:
    """The picture with its right and bottom edges repeated: (..., h, w) to (..., height, width)."""
    room = (0, width - image.shape[-1], 0, height - image.shape[-2])
    return F.pad(image, room, mode="replicate")


def padded_side(side: int, multiple: int, least: int) -> int:
    """The smallest multiple that is at least `side` and `least`."""
    return -(-max(side, least) // multiple) * multiple


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """A decoded picture (3, h, w) as (h, w, 3) in 0..255, clamped and rounded."""
    pixels: NDArray[np.uint8] = to_uint8(image[None])[0].cpu().numpy()
    return pixels


@dataclass(frozen=True, slots=True)
class Crop:
    """Finishes a picture that was padded: its first `height` rows and `width` columns are the picture."""

    height: int
    width: int

    def __call__(self, image: Tensor) -> NDArray[np.uint8]:
        """Shapes: (3, h, w) floats to (height, width, 3) uint8."""
        return to_pixels(image[:, : self.height, : self.width])
