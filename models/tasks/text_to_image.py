"""Text to image: from noise to a picture of the prompt, which an upscaler may then make larger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import RequestError
from models.row import Row
from models.tasks.given import nothing_given
from models.tasks.prompted import Prompted, from_noise, noise_rows
from models.tasks.super_resolution import SuperResolution, check_scale

if TYPE_CHECKING:
    from models.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage(Prompted):
    """A picture of width x height pixels; None means the model's native size.

    upscale: 1, or what the pipeline's upscaler offers: the picture is developed, then enlarged so many times.
    """

    width: int | None = None
    height: int | None = None
    upscale: int = 1


def enlargement(request: TextToImage, picture: NDArray[np.uint8], seed: int) -> SuperResolution:
    """What the upscaler is asked for a picture (h, w, 3) of the request that was developed from `seed`."""
    return SuperResolution(
        image=picture,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        prompt_syntax=request.prompt_syntax,
        seed=seed,
        scale=request.upscale,
        reproducible=request.reproducible,
    )


def begin(pipeline: Pipeline, request: TextToImage) -> list[Row]:
    """One row an image: text states, initial noise, the sampler's table.

    Raises: RequestError for a size, seed, sampler, number of steps or upscale that the model cannot do.
    """
    width, height = _size(pipeline, request)
    _check_upscale(pipeline.upscaler, request.upscale)
    factor = pipeline.autoencoder.config.factor
    shape = (pipeline.autoencoder.config.latent_channels, height // factor, width // factor)
    nothing = nothing_given(pipeline, shape)
    return from_noise(noise_rows(pipeline, request, shape, lambda _: nothing))


def _size(pipeline: Pipeline, request: TextToImage) -> tuple[int, int]:
    card = pipeline.card
    width = card.native_width if request.width is None else request.width
    height = card.native_height if request.height is None else request.height
    for name, side in (("width", width), ("height", height)):
        if not card.min_side <= side <= card.max_side:
            raise RequestError(name, f"must be {card.min_side} to {card.max_side} pixels, got {side}")
        if side % card.multiple:
            raise RequestError(name, f"must be a multiple of {card.multiple}, got {side}")
    return width, height


def _check_upscale(upscaler: Pipeline | None, upscale: int) -> None:
    if upscale == 1:
        return
    if upscaler is None:
        raise RequestError("upscale", f"must be 1, since the pipeline has no upscaler, got {upscale}")
    check_scale(upscaler, "upscale", upscale)
