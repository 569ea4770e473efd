"""A picture made larger."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from app.jobs.spec.fields import AnyPrompt, CommonParams, CommonWish
from app.jobs.spec.references import Pinned, Reference, sha256_of

Scale = Annotated[int, Field(ge=2, le=8)]


class SuperResolution(CommonWish):
    """A picture made larger; words may say what is on it.

    With `consistent` the result, averaged over boxes of scale x scale pixels, is the picture within 1/255.
    """

    task: Literal["super_resolution"]
    prompt: AnyPrompt = ""
    image: Reference
    scale: Scale | None = None
    consistent: bool = False

    @field_validator("consistent")
    @classmethod
    def _only_png_keeps_it(cls, consistent: bool, info: ValidationInfo) -> bool:
        if consistent and info.data.get("format", "png") != "png":
            raise ValueError("must be false unless format is png")
        return consistent

    @property
    def references(self) -> dict[str, str]:
        """The picture that is made larger."""
        return {"image": self.image}


class SuperResolutionParams(CommonParams):
    """A picture made larger, complete; width and height are the result's."""

    task: Literal["super_resolution"]
    image: Pinned
    scale: Scale
    consistent: bool

    @property
    def inputs(self) -> dict[str, str]:
        """The picture that is made larger."""
        return {"image": sha256_of(self.image)}
