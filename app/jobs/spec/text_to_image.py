"""A picture from words, which may be made larger in the same job."""

from typing import Literal, Self

from pydantic import model_validator

from app.jobs.spec.fields import CommonParams, CommonWish, Frozen, GuidanceScale, Name, Side, Steps

Upscale = Literal[1, 2, 4]


class TextToImage(CommonWish):
    """A picture from words.  Sides are pixels; null means: the model's default.

    With `upscale` the picture is developed in these sides, then made so many times as large by another model.
    """

    task: Literal["text_to_image"]
    width: Side | None = None
    height: Side | None = None
    upscale: Upscale = 1


class Upscaler(Frozen):
    """The model that makes developed pictures larger, and how it does."""

    model: Name
    steps: Steps
    guidance_scale: GuidanceScale
    sampler: Name


class TextToImageParams(CommonParams):
    """A picture from words, complete; `upscaler` is null where nothing is made larger.

    The sides are those in which it is developed.
    """

    task: Literal["text_to_image"]
    upscale: Upscale
    upscaler: Upscaler | None

    @model_validator(mode="after")
    def _is_enlarged_by_somebody(self) -> Self:
        if (self.upscale == 1) != (self.upscaler is None):
            raise ValueError("upscaler must be named if and only if upscale is not 1")
        return self

    @property
    def steps_run(self) -> int:
        """The steps of both models."""
        return self.steps if self.upscaler is None else self.steps + self.upscaler.steps

    @property
    def enlarged_pixels(self) -> int:
        """How many pixels of an image pass through the second model."""
        return self.pixels * self.upscale**2

    @property
    def work(self) -> int:
        """What an image costs both models."""
        second = 0 if self.upscaler is None else self.enlarged_pixels * self.upscaler.steps
        return self.pixels * self.steps + second

    @property
    def second_model(self) -> str | None:
        """The model that makes it larger."""
        return None if self.upscaler is None else self.upscaler.model
