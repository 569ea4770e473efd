"""Jobs about an image that is there already: made for clients by the front door, never taken from a body.

They carry the recipe of that one image, and are claimed, beaten for and settled like any other job.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.jobs.spec.fields import Format, Frozen, GuidanceScale, Name, Priority, Steps
from app.jobs.spec.image_to_image import ImageToImageParams
from app.jobs.spec.inpaint import InpaintParams
from app.jobs.spec.super_resolution import SuperResolutionParams
from app.jobs.spec.text_to_image import TextToImageParams

PictureParams = TextToImageParams | ImageToImageParams | InpaintParams | SuperResolutionParams

PICTURE = "picture"
"""The role of the image's own file among what a job needs."""

ESTIMATES = "estimates"
"""The role of the file that holds the step to be decoded."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ImageId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="the image that the job is about")]
Recipe = Annotated[PictureParams, Field(discriminator="task", description="of that one image: its seed, one image")]


class AboutImage(Frozen):
    """What the parameters of every internal job have, and what else the service asks of any job's."""

    version: Literal[3] = 3
    task: str
    image: ImageId
    recipe: Recipe

    @property
    def model(self) -> str:
        """The model that is needed."""
        return self.recipe.model

    @property
    def second_model(self) -> str | None:
        """The other model that is needed, if there is one."""
        return None

    @property
    def fingerprint(self) -> str | None:
        """Which workers may take the job; None: any that serve its models."""
        return None

    @property
    def subject(self) -> str:
        """What the job is about: two with the same subject and task have the same answer."""
        return self.image

    @property
    def priority(self) -> Priority:
        """Somebody is waiting for the answer."""
        return "normal"

    @property
    def num_images(self) -> int:
        """It is about one image."""
        return 1

    @property
    def inputs(self) -> dict[str, str]:
        """The sha256 of every picture that the image was made from, by its role."""
        return self.recipe.inputs

    @property
    def stored(self) -> dict[str, str]:
        """The sha256 of every file of the image that is needed to begin, by its role."""
        return {}

    @property
    def title(self) -> str:
        """What to call it: as the image."""
        return self.recipe.title

    @property
    def width(self) -> int:
        """The image's, in pixels."""
        return self.recipe.width

    @property
    def height(self) -> int:
        """The image's, in pixels."""
        return self.recipe.height

    @property
    def negative_prompt(self) -> str:
        """The image's."""
        return self.recipe.negative_prompt

    @property
    def seed(self) -> int:
        """The image's own."""
        return self.recipe.seed

    @property
    def steps(self) -> int:
        """The image's."""
        return self.recipe.steps

    @property
    def sampler(self) -> str:
        """The image's."""
        return self.recipe.sampler

    @property
    def guidance_scale(self) -> GuidanceScale:
        """The image's."""
        return self.recipe.guidance_scale

    @property
    def format(self) -> Format:
        """The image's file's."""
        return self.recipe.format

    @property
    def steps_run(self) -> int:
        """The steps that it takes: what progress is counted in."""
        return self.recipe.steps_run

    @property
    def pixels(self) -> int:
        """How many pixels pass through the model."""
        return self.recipe.pixels

    @property
    def work(self) -> int:
        """What it costs: pixels x steps."""
        return self.recipe.work


class VerifyParams(AboutImage):
    """A reproducible image developed again, on a worker of the same fingerprint, and compared with its file."""

    task: Literal["verify"]
    sha256: Sha256
    made_on: str

    @property
    def second_model(self) -> str | None:
        """The one that made it larger, if one did."""
        return self.recipe.second_model

    @property
    def fingerprint(self) -> str | None:
        """That of the worker which made the image."""
        return self.made_on


class DecodeParams(AboutImage):
    """The picture that an image was estimated to be after one of its steps; they are counted from 1."""

    task: Literal["decode"]
    step: Steps
    sha256: Sha256
    place: Annotated[int, Field(ge=0, description="of the step in the file that holds it, which has this sha256")]

    @property
    def is_of_second_stage(self) -> bool:
        """Whether it is a step of making the picture larger."""
        return isinstance(self.recipe, TextToImageParams) and self.step > self.recipe.steps

    @property
    def model(self) -> Name:
        """The model whose step it is."""
        second = self.recipe.second_model
        return second if self.is_of_second_stage and second is not None else self.recipe.model

    @property
    def stored(self) -> dict[str, str]:
        """The file that holds the step."""
        return {ESTIMATES: self.sha256}

    @property
    def subject(self) -> str:
        """One step of the image."""
        return f"{self.image}/{self.step}"

    @property
    def steps_run(self) -> int:
        """None is taken; decoding counts as one."""
        return 1

    @property
    def work(self) -> int:
        """About as much as a step."""
        return self.recipe.pixels


InternalParams = VerifyParams | DecodeParams

INTERNAL_TASKS = ("verify", "decode")
"""The tasks that no client can ask for by a body; lists of jobs leave them out unless they are named."""


def recipe_of(params: PictureParams, seed: int) -> PictureParams:
    """The recipe of one image of a job, by the image's own seed."""
    return params.model_copy(update={"seed": seed, "num_images": 1, "save_trajectory": False})
