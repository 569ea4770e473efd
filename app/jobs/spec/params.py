"""Any task's wish and parameters: told apart, read from a row, and what they cost."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from app.jobs.spec.fields import SEEDS
from app.jobs.spec.image_to_image import ImageToImage, ImageToImageParams
from app.jobs.spec.inpaint import Inpaint, InpaintParams
from app.jobs.spec.super_resolution import SuperResolution, SuperResolutionParams
from app.jobs.spec.text_to_image import TextToImage, TextToImageParams

TASKS = ("text_to_image", "image_to_image", "inpaint", "super_resolution")
"""Every task there is; a model's catalogue entry says which of them it offers."""

PARAMS_VERSION = 2

Wish = TextToImage | ImageToImage | Inpaint | SuperResolution
Params = TextToImageParams | ImageToImageParams | InpaintParams | SuperResolutionParams

_PARAMS: TypeAdapter[Params] = TypeAdapter(Annotated[Params, Field(discriminator="task")])

# What the fields that version 1 did not have were then.
_SINCE_2 = {"version": 2, "prompt_syntax": "plain", "guidance_interval": (0.0, 1.0), "priority": "normal"}


def read_params(row: Any) -> Params:
    """The parameters in a row's JSON, of whatever version they are; those of older ones are completed.

    Raises: ValidationError for what no version wrote.
    """
    if isinstance(row, Mapping) and row.get("version") == 1:
        row = {**row, **_SINCE_2}
    return _PARAMS.validate_python(row)


def steps_in_all(params: Params) -> int:
    """The denoising steps of all images together: what progress is counted in."""
    return params.steps_run * params.num_images


def cost(params: Params) -> float:
    """How much work the job is: pixels x steps x images."""
    return float(params.pixels * steps_in_all(params))


def image_seed(seed: int, index: int) -> int:
    """The seed of a job's image `index`."""
    return (seed + index) % SEEDS
