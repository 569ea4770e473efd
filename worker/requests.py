"""A job's words -> a pipeline's words: one function a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

import models
from app.jobs.spec import (
    ESTIMATES,
    DecodeParams,
    ImageToImageParams,
    InpaintParams,
    PictureParams,
    SuperResolutionParams,
    TextToImageParams,
)
from worker import pictures
from worker.trajectories import estimate_in

if TYPE_CHECKING:
    from models import Request

Inputs = Mapping[str, bytes]
"""The pictures that a job is made from, by role, as the front door stored them."""

NO_INPUTS: Inputs = {}


def request_of(params: PictureParams, inputs: Inputs) -> Request:
    """What the pipeline is asked for this job."""
    match params:
        case TextToImageParams():
            return text_to_image(params)
        case ImageToImageParams():
            return image_to_image(params, inputs["image"])
        case InpaintParams():
            return inpaint(params, inputs["image"], inputs["mask"])
        case SuperResolutionParams():
            return super_resolution(params, inputs["image"])
        case _:
            assert_never(params)


def text_to_image(params: TextToImageParams) -> models.TextToImage:
    """What the first pipeline is asked for a picture from words; what makes it larger is asked by `enlargement`."""
    return models.TextToImage(width=params.width, height=params.height, **_prompted(params))


def image_to_image(params: ImageToImageParams, image: bytes) -> models.ImageToImage:
    """What the pipeline is asked for a picture from a picture and words."""
    picture = pictures.colours(image, (params.width, params.height))
    return models.ImageToImage(image=picture, strength=params.strength, **_prompted(params))


def inpaint(params: InpaintParams, image: bytes, mask: bytes) -> models.Inpaint:
    """What the pipeline is asked for a part of a picture painted anew."""
    size = params.width, params.height
    return models.Inpaint(
        image=pictures.colours(image, size),
        mask=pictures.marked(mask, params.mask_mode, size),
        strength=params.strength,
        feather=params.feather,
        **_prompted(params),
    )


def super_resolution(params: SuperResolutionParams, image: bytes) -> models.SuperResolution:
    """What the pipeline is asked for a picture made larger."""
    return models.SuperResolution(
        image=pictures.colours(image), scale=params.scale, consistent=params.consistent, **_prompted(params)
    )


def enlargement(params: TextToImageParams, picture: np.ndarray, seed: int) -> models.SuperResolution:
    """What the second pipeline is asked for a picture (h, w, 3) of the job that was developed from `seed`.

    Raises: ValueError if the job has no second pipeline.
    """
    upscaler = params.upscaler
    if upscaler is None:
        raise ValueError(f"only a picture with an upscaler is made larger, got upscale {params.upscale}")
    own = {"num_steps": upscaler.steps, "guidance_scale": upscaler.guidance_scale, "sampler": upscaler.sampler}
    alone = {"seed": seed, "num_images": 1, "guidance_interval": (0.0, 1.0), "eta": 0.0}
    return models.SuperResolution(image=picture, scale=params.upscale, **_prompted(params) | own | alone)


def decoding(params: DecodeParams, inputs: Inputs) -> models.Decode:
    """What the pipeline is asked for the picture that one step of an image stands for."""
    recipe = params.recipe
    of: Request
    if params.is_of_second_stage and isinstance(recipe, TextToImageParams):
        # What was made larger is in the estimate already; to draw its colours back to, it is not there any more.
        nothing = np.zeros((recipe.height, recipe.width, 3), np.uint8)
        of = replace(enlargement(recipe, nothing, recipe.seed), keep_colours=False)
    else:
        of = request_of(recipe, inputs)
    return models.Decode(of=of, x0=estimate_in(inputs[ESTIMATES], params.place))


def _prompted(params: PictureParams) -> dict[str, Any]:
    return {
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "prompt_syntax": params.prompt_syntax,
        "seed": params.seed,
        "num_steps": params.steps,
        "guidance_scale": params.guidance_scale,
        "guidance_interval": params.guidance_interval,
        "sampler": params.sampler,
        "eta": params.eta,
        "num_images": params.num_images,
        "reproducible": params.reproducible,
    }
