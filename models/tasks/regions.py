"""Where to repaint a picture: the region around a mask, the way to the model's size and back, the soft edge.

Axes: h height, w width (pixels of the picture), p q height and width of the region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.pixels import Crop
from models.tasks.seams import without_seam

# A region shows the model half as much again as it has to repaint.
_SURROUNDINGS = 1.5


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture, and the size (height, width) at which it is developed."""

    top: int
    left: int
    height: int
    width: int
    developed: tuple[int, int]

    def of(self, x: Tensor) -> Tensor:
        """The rectangle of a picture or mask: (..., h, w) to (..., p, q)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def shrink_image(self, image: Tensor) -> Tensor:
        """The rectangle of a picture (1, 3, h, w), at the size at which it is developed."""
        return _resized(self.of(image), self.developed)

    def shrink_mask(self, mask: Tensor) -> Tensor:
        """The rectangle of a mask (1, 1, h, w), by maximum, at the size at which it is developed."""
        # both are one to one where nothing is scaled
        return F.adaptive_max_pool2d(self.of(mask), self.developed)

    def grow(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Developed pixels (height, width, 3) at the size of the rectangle, (p, q, 3)."""
        if pixels.shape[:2] == (self.height, self.width):
            return pixels
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        grown = _resized(image, (self.height, self.width)).round().clamp(0, 255)
        result: NDArray[np.uint8] = grown[0].permute(1, 2, 0).to(torch.uint8).numpy()
        return result


def region_around(mask: Tensor, feather: int, native: tuple[int, int]) -> Region:
    """The region to develop for a mask (1, 1, h, w) that marks at least one pixel.

    A picture that is no larger than `native` (height, width) is its own region. Else it is the mask and its
    feather with surroundings, in the proportions of `native` and at least that size, as far as the picture
    reaches; what exceeds `native` is developed smaller.
    """
    sides = (mask.shape[-2], mask.shape[-1])
    if sides[0] <= native[0] and sides[1] <= native[1]:
        return Region(0, 0, *sides, developed=sides)
    marked = [mask[0, 0].amax(dim=1 - axis).nonzero() for axis in (0, 1)]
    spans = [
        (max(0, int(places.min()) - feather), min(side, int(places.max()) + 1 + feather))
        for places, side in zip(marked, sides, strict=True)
    ]
    scale = max(1.0, *(_SURROUNDINGS * (end - begin) / size for (begin, end), size in zip(spans, native, strict=True)))
    extents = [min(side, round(size * scale)) for side, size in zip(sides, native, strict=True)]
    shrink = max(1.0, *(extent / size for extent, size in zip(extents, native, strict=True)))
    top, left = (
        min(max(0, (begin + end - extent) // 2), side - extent)
        for (begin, end), extent, side in zip(spans, extents, sides, strict=True)
    )
    developed = (max(1, round(extents[0] / shrink)), max(1, round(extents[1] / shrink)))
    return Region(top, left, extents[0], extents[1], developed)


def soft_edge(mask: Tensor, feather: int) -> Tensor:
    """How much of each pixel is new, (1, 1, h, w): 1 in the mask, falling to 0 in `feather` pixels around it.

    A straight ramp over the distance, diagonals counted as one: the mean of the mask grown by 0 .. feather.
    """
    share, reach = mask.clone(), mask
    for _ in range(feather):
        reach = F.max_pool2d(reach, 3, stride=1, padding=1)
        share += reach
    return share / (feather + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """Finishes a repainted region: laid onto the picture (h, w, 3) in 8 bit by its share (p, q, 1) of each pixel.

    Where the share is 0, every byte is the picture's own. With `blend` the seam is taken off what is laid on.
    """

    picture: NDArray[np.uint8]
    region: Region
    share: NDArray[np.float32]
    blend: bool = True

    def __call__(self, image: Tensor) -> NDArray[np.uint8]:
        """Shapes: the decoded region (3, ...), padded as it was developed, to (h, w, 3) uint8."""
        new = self.region.grow(Crop(*self.region.developed)(image))
        pasted = self.picture.copy()
        target = pasted[
            self.region.top : self.region.top + self.region.height,
            self.region.left : self.region.left + self.region.width,
        ]
        colours = self._blended(new, target) if self.blend else new
        mixed = np.rint(self.share * colours + (1 - self.share) * target).astype(np.uint8)
        target[:] = np.where(self.share > 0, mixed, target)
        return pasted

    def _blended(self, new: NDArray[np.uint8], old: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(p, q, 3) each."""
        images = [torch.from_numpy(pixels).permute(2, 0, 1).float() for pixels in (new, old.copy())]
        blended = without_seam(images[0], images[1], torch.from_numpy(self.share[:, :, 0] == 0))
        colours: NDArray[np.float32] = blended.permute(1, 2, 0).numpy()
        return colours


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, antialiased where it shrinks; the picture itself where the size is its own."""
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
