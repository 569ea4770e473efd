"""Image to image: a picture noised part of the way, and denoised towards the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.errors import RequestError
from models.pixels import Crop, Picture, as_image, pad, padded_side
from models.row import Row
from models.tasks.given import nothing_given
from models.tasks.prompted import Prompted, from_image, noise_rows

if TYPE_CHECKING:
    from models.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToImage(Prompted):
    """What to start from: an image (h, w, 3) of any size up to the model's limit, or its latents (c, h/f, w/f).

    strength: 0 < s <= 1, how far it is noised; the last max(1, int(num_steps * strength)) steps run.
    """

    image: Picture | None = None
    latents: Tensor | None = None
    strength: float = 0.8


def begin(pipeline: Pipeline, request: ImageToImage) -> list[Row]:
    """One row an image: the picture's latents, noised to the first level of the plan.

    Raises: RequestError for a picture or strength, or whatever else, that the model cannot do.
    """
    x0, finishing = _start(pipeline, request)
    nothing = nothing_given(pipeline, x0.shape)
    rows = noise_rows(pipeline, request, x0.shape, lambda _: nothing, strength=request.strength)
    for row in rows:
        row.finishing = finishing
    return from_image(rows, x0)


def _start(pipeline: Pipeline, request: ImageToImage) -> tuple[Tensor, Crop]:
    """The clean latents (c, h/f, w/f), and how the decoded picture is cut to size."""
    if request.latents is not None and request.image is None:
        return _given_latents(pipeline, request.latents)
    if request.image is None or request.latents is not None:
        raise RequestError("image", "or latents must be given, one of the two")
    image = as_image(request.image)
    height, width = image.shape[-2:]
    card = pipeline.card
    if max(height, width) > card.max_side:
        raise RequestError("image", f"must be at most {card.max_side} pixels a side, got {width} x {height}")
    padded = pad(image, *(padded_side(side, card.multiple, card.min_side) for side in (height, width)))
    return pipeline.encode_image(padded), Crop(height, width)


def _given_latents(pipeline: Pipeline, latents: Tensor) -> tuple[Tensor, Crop]:
    config = pipeline.autoencoder.config
    if latents.ndim != 3 or latents.shape[0] != config.latent_channels or not bool(latents.isfinite().all()):
        wanted = f"({config.latent_channels}, height, width) and finite"
        raise RequestError("latents", f"must be {wanted}, got {tuple(latents.shape)}")
    height, width = (cells * config.factor for cells in latents.shape[1:])
    return latents.to(pipeline.device, torch.float32), Crop(height, width)
