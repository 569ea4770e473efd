"""Any task's wish and parameters: told apart, read from a row, and what they cost."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from app.jobs.spec.fields import SEEDS
from app.jobs.spec.image_to_image import ImageToImage
from app.jobs.spec.inpaint import Inpaint
from app.jobs.spec.internal import InternalParams, PictureParams
from app.jobs.spec.super_resolution import SuperResolution
from app.jobs.spec.text_to_image import TextToImage

TASKS = ("text_to_image", "image_to_image", "inpaint", "super_resolution")
"""Every task that clients ask for; a model's catalogue entry says which of them it offers."""

PARAMS_VERSION = 3

Wish = TextToImage | ImageToImage | Inpaint | SuperResolution
Params = PictureParams | InternalParams

_PARAMS: TypeAdapter[Params] = TypeAdapter(Annotated[Params, Field(discriminator="task")])
_PICTURE: TypeAdapter[PictureParams] = TypeAdapter(Annotated[PictureParams, Field(discriminator="task")])

# What the fields that a version did not have yet were then.
_SINCE_2 = {"prompt_syntax": "plain", "guidance_interval": (0.0, 1.0), "priority": "normal"}
_SINCE_3 = {"reproducible": False, "save_trajectory": False}
_SINCE_3_OF_TASK = {"text_to_image": {"upscale": 1, "upscaler": None}}


def read_params(row: Any) -> Params:
    """The parameters in a row's JSON, of whatever version they are; those of older ones are completed.

    Raises: ValidationError for what no version wrote.
    """
    return _PARAMS.validate_python(_completed(row))


def read_picture_params(row: Any) -> PictureParams:
    """The parameters in the row of a job that made pictures.  Raises: as `read_params`."""
    return _PICTURE.validate_python(_completed(row))


def steps_in_all(params: Params) -> int:
    """The denoising steps of all images together: what progress is counted in."""
    return params.steps_run * params.num_images


def cost(params: Params) -> float:
    """How much work the job is: pixels x steps x images, summed over the models that it passes through."""
    return float(params.work * params.num_images)


def image_seed(seed: int, index: int) -> int:
    """The seed of a job's image `index`."""
    return (seed + index) % SEEDS


def _completed(row: Any) -> Any:
    if not isinstance(row, Mapping) or row.get("version") not in (1, 2):
        return row
    since_2 = _SINCE_2 if row["version"] == 1 else {}
    since_3 = _SINCE_3 | _SINCE_3_OF_TASK.get(row.get("task", ""), {})
    return {**since_2, **since_3, **row, "version": PARAMS_VERSION}
