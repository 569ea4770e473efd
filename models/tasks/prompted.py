"""What the tasks have in common: a prompt, how to develop it, and the rows that this makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from torch import Generator, Tensor

from models.errors import RequestError
from models.guidance import Guidance
from models.noise import NUM_SEEDS, draw, image_generator, image_seed
from models.process import add_noise
from models.prompt_syntax import PromptSyntax, parse
from models.row import Row
from models.sampling import SamplingPlan, start_of_strength

if TYPE_CHECKING:
    from models.pipeline import Pipeline

DrawExtra = Callable[[Generator], Tensor | None]
"""The further input channels (e, h, w) of one image; what is random in them comes from its generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """A prompt and how to develop it. None means the model's own default. Image k starts from seed + k.

    `noise` (num_images, c, h/f, w/f) float32 replaces the initial noise. Step i of n is guided if and only if
    guidance_interval[0] <= i / n < guidance_interval[1].

    reproducible: whatever a network computes for the picture is computed in one fixed shape, guided or not, so that
    the bytes are equal whoever shares the device. It costs an unguided picture as much as a guided one.
    """

    prompt: str
    negative_prompt: str = ""
    prompt_syntax: PromptSyntax = "plain"
    seed: int = 0
    num_steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    sampler: str | None = None
    eta: float = 0.0
    num_images: int = 1
    noise: Tensor | None = None
    reproducible: bool = False


def noise_rows(
    pipeline: Pipeline,
    request: Prompted,
    shape: Sequence[int],
    draw_extra: DrawExtra,
    *,
    strength: float = 1.0,
) -> list[Row]:
    """One row an image: text states, the sampler's table from where `strength` starts, further channels.

    The latents are the initial noise of this shape (c, h, w) as it was drawn; `from_noise` or `from_image`
    makes them a start.
    Raises: RequestError naming the field that the model cannot do.
    """
    if not 0 <= request.seed < NUM_SEEDS:
        raise RequestError("seed", f"must be 0 to {NUM_SEEDS - 1}, got {request.seed}")
    if request.num_images < 1:
        raise RequestError("num_images", f"must be at least 1, got {request.num_images}")
    wanted = (request.num_images, *shape)
    if request.noise is not None and tuple(request.noise.shape) != wanted:
        raise RequestError("noise", f"must have the shape {wanted}, got {tuple(request.noise.shape)}")
    guidance = _guidance(pipeline, request)
    plan = _plan(pipeline, request, strength)
    cond, uncond = _text(pipeline, request, guidance, plan)
    rows = []
    for index in range(request.num_images):
        generator = image_generator(request.seed, index)
        extra = draw_extra(generator)
        noise = draw(generator, shape) if request.noise is None else request.noise[index]
        rows.append(
            Row(
                index=index,
                seed=image_seed(request.seed, index),
                latents=noise.to(pipeline.device, torch.float32),
                plan=plan,
                guidance=guidance,
                cond=cond,
                uncond=uncond,
                generator=generator,
                extra=extra,
                reproducible=request.reproducible,
            )
        )
    return rows


def from_noise(rows: Sequence[Row]) -> list[Row]:
    """The same rows at the start of a whole plan: pure noise, in the sampler's scale."""
    for row in rows:
        row.latents = row.latents * row.plan.init_scale
    return list(rows)


def from_image(rows: Sequence[Row], x0: Tensor) -> list[Row]:
    """The same rows at the start of an image's plan: x0 (c, h, w) noised to the plan's first level."""
    for row in rows:
        row.latents = add_noise(x0, row.latents, row.plan.levels[0].to(x0.device))
    return list(rows)


def _guidance(pipeline: Pipeline, request: Prompted) -> Guidance:
    scale = pipeline.card.default_guidance_scale if request.guidance_scale is None else request.guidance_scale
    if not 0.0 <= scale <= 50.0:
        raise RequestError("guidance_scale", f"must be 0 to 50, got {scale}")
    first, last = request.guidance_interval
    if not 0.0 <= first <= last <= 1.0:
        raise RequestError("guidance_interval", f"must be 0 <= from <= to <= 1, got {first} to {last}")
    return Guidance(scale, (first, last))


def _plan(pipeline: Pipeline, request: Prompted, strength: float) -> SamplingPlan:
    num_steps = pipeline.card.default_steps if request.num_steps is None else request.num_steps
    if not 0.0 < strength <= 1.0:
        raise RequestError("strength", f"must be above 0 and at most 1, got {strength}")
    # a number of steps that is too small is the plan's to refuse
    start = start_of_strength(num_steps, strength) if num_steps > 0 else 0
    return pipeline.plan(request.sampler, num_steps, eta=request.eta, start=start)


def _text(
    pipeline: Pipeline, request: Prompted, guidance: Guidance, plan: SamplingPlan
) -> tuple[Tensor, Tensor | None]:
    is_guided = any(guidance.scale_at(step, plan.num_steps) != 1.0 for step in range(plan.num_steps))
    if request.prompt_syntax not in get_args(PromptSyntax):
        known = ", ".join(get_args(PromptSyntax))
        raise RequestError("prompt_syntax", f"must be one of {known}, got {request.prompt_syntax!r}")
    for field, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
        try:
            parse(text, request.prompt_syntax)
        except ValueError as error:
            raise RequestError(field, f"cannot be weighted: {error}") from error
    negative_prompt = request.negative_prompt if is_guided or request.reproducible else None
    return pipeline.encode_text(request.prompt, negative_prompt, request.prompt_syntax)
