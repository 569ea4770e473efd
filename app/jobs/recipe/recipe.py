"""The recipe of one picture."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.failures import JobsError
from app.jobs.spec import PictureParams, Upscaler, image_seed

MAX_TEXT_LENGTH = 65536

NOT_OF_THE_PICTURE = (
    "version",
    "num_images",
    "format",
    "quality",
    "metadata",
    "priority",
    "save_trajectory",
    "developed_pixels",
)
"""What parameters say of the job and its files, and not of a picture."""

# Not strict: JSON has no tuples.
Interval = Annotated[tuple[float, float], Field(strict=False)]


class NoRecipe(JobsError, ValueError):
    """A file that is no picture, or a picture in which no recipe is found."""


class Recipe(BaseModel):
    """What one picture was made from: enough to make it again. None is "not said": a stranger's file may omit it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    task: str = "text_to_image"
    prompt: str
    negative_prompt: str = ""
    prompt_syntax: str | None = None
    model: str | None = None
    revision: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: Interval | None = None
    sampler: str | None = None
    eta: float | None = None
    seed: int | None = None
    image: str | None = None
    mask: str | None = None
    mask_mode: str | None = None
    feather: int | None = None
    strength: float | None = None
    fit: str | None = None
    scale: int | None = None
    consistent: bool | None = None
    upscale: int | None = None
    upscaler: Upscaler | None = None
    reproducible: bool | None = None

    @classmethod
    def of(cls, params: PictureParams, index: int, revision: str) -> Self:
        """The recipe of image `index` of a job; its seed is the image's own, so one image repeats it.

        Pictures that it was made from are named by their sha256.
        """
        said = params.model_dump(exclude={*NOT_OF_THE_PICTURE})
        return cls(**said | {"revision": revision, "seed": image_seed(params.seed, index)})
