"""Inpainting: a part of a picture painted anew, the rest untouched to the byte.

Networks that were trained for it are told the mask and what it leaves. Any other is held to what is known: after
every step the known cells are put back, noised to the level of that step with the image's initial noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import RequestError
from models.pixels import Picture, as_image, pad, padded_side, to_pixels
from models.row import Known, Row
from models.tasks.given import given, takes_mask, to_cells
from models.tasks.prompted import Prompted, from_image, from_noise, noise_rows
from models.tasks.regions import Paste, region_around, soft_edge

if TYPE_CHECKING:
    from models.pipeline import Pipeline

MAX_FEATHER = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpaint(Prompted):
    """An image (h, w, 3) of any size, and a mask (h, w) of any type: what is not 0 is repainted.

    strength: 0 < s <= 1, how far what is repainted is noised; 1 starts from pure noise.
    feather: 0..64 pixels around the mask over which the new fades into the old. Beyond mask and feather every
    pixel of the result equals the image's.
    blend: whether colours that are a little off are drawn to those around the mask, so that no seam shows.
    A picture larger than the model's native size is developed around the mask.
    """

    image: Picture
    mask: NDArray[np.generic] | Tensor
    strength: float = 1.0
    feather: int = 0
    blend: bool = True


def begin(pipeline: Pipeline, request: Inpaint) -> list[Row]:
    """One row an image, of the region around the mask.

    Raises: RequestError for a picture, mask, feather or strength, or whatever else, that the model cannot do.
    """
    if not 0 <= request.feather <= MAX_FEATHER:
        raise RequestError("feather", f"must be 0 to {MAX_FEATHER} pixels, got {request.feather}")
    image = as_image(request.image)
    mask = _as_mask(request.mask, (image.shape[-2], image.shape[-1]))
    card = pipeline.card
    region = region_around(mask, request.feather, (card.native_height, card.native_width))
    canvas = [padded_side(side, card.multiple, card.min_side) for side in region.developed]
    # the mask is padded as the picture is: else the padding would show what lies under the mask
    hole = pad(region.shrink_mask(mask), *canvas)
    around = pad(region.shrink_image(image), *canvas)
    share = soft_edge(region.of(mask), request.feather)[0, 0, :, :, None].numpy()
    finishing = Paste(to_pixels(image[0]), region, share, request.blend)

    x0 = pipeline.encode_image(around)
    told = given(pipeline, around, hole) if takes_mask(pipeline) else None
    rows = noise_rows(pipeline, request, x0.shape, lambda _: told, strength=request.strength)
    cells = to_cells(hole, pipeline.autoencoder.config.factor)[0].to(pipeline.device)
    for row in rows:
        row.finishing = finishing
        row.known = Known(x0, row.latents, cells) if told is None else None
    return from_noise(rows) if request.strength == 1.0 else from_image(rows, x0)


def _as_mask(mask: NDArray[np.generic] | Tensor, size: tuple[int, int]) -> Tensor:
    """What is repainted, (1, 1, h, w) float32 of 0 and 1. Raises: RequestError."""
    marked = torch.as_tensor(mask).detach().cpu() != 0
    if tuple(marked.shape) != size:
        raise RequestError("mask", f"must be of the image's {size[0]} rows and {size[1]} columns, got {marked.shape}")
    if not bool(marked.any()):
        raise RequestError("mask", "must mark at least one pixel")
    return marked.float()[None, None]
