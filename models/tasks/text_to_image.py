"""Text to image: from noise to a picture of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.errors import RequestError
from models.guidance import Guidance
from models.noise import NUM_SEEDS, draw, image_generator, image_seed
from models.row import Row

if TYPE_CHECKING:
    from models.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage:
    """A prompt and how to develop it. None means the model's own default. Image k starts from seed + k.

    `noise` (num_images, c, h/f, w/f) float32 replaces the initial noise; sizes are pixels.
    """

    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    seed: int = 0
    num_steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    eta: float = 0.0
    num_images: int = 1
    noise: Tensor | None = None


def begin(pipeline: Pipeline, request: TextToImage) -> list[Row]:
    """One row an image: text states, initial noise, the sampler's table.

    Raises: RequestError for a size, seed, sampler or number of steps that the model cannot do.
    """
    width, height = _size(pipeline, request)
    if not 0 <= request.seed < NUM_SEEDS:
        raise RequestError("seed", f"must be 0 to {NUM_SEEDS - 1}, got {request.seed}")
    if request.num_images < 1:
        raise RequestError("num_images", f"must be at least 1, got {request.num_images}")
    guidance = Guidance(_scale(pipeline, request))
    plan = pipeline.plan(request.sampler, request.num_steps, eta=request.eta)
    negative_prompt = None if guidance.scale == 1.0 else request.negative_prompt
    cond, uncond = pipeline.encode_text(request.prompt, negative_prompt)

    factor = pipeline.autoencoder.config.factor
    shape = (pipeline.autoencoder.config.latent_channels, height // factor, width // factor)
    if request.noise is not None and tuple(request.noise.shape) != (request.num_images, *shape):
        wanted = (request.num_images, *shape)
        raise RequestError("noise", f"must have the shape {wanted}, got {tuple(request.noise.shape)}")
    rows = []
    for index in range(request.num_images):
        generator = image_generator(request.seed, index)
        noise = draw(generator, shape) if request.noise is None else request.noise[index]
        latents = noise.to(pipeline.device, torch.float32) * plan.init_scale
        rows.append(
            Row(
                index=index,
                seed=image_seed(request.seed, index),
                latents=latents,
                plan=plan,
                guidance=guidance,
                cond=cond,
                uncond=uncond,
                generator=generator,
                extra=pipeline.nothing_given(latents),
            )
        )
    return rows


def _scale(pipeline: Pipeline, request: TextToImage) -> float:
    scale = pipeline.card.default_guidance_scale if request.guidance_scale is None else request.guidance_scale
    if not 0.0 <= scale <= 50.0:
        raise RequestError("guidance_scale", f"must be 0 to 50, got {scale}")
    return scale


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
