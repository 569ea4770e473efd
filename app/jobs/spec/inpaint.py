"""A part of a picture painted anew."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from app.jobs.spec.fields import CommonParams, CommonWish, Side, Strength, steps_of_strength
from app.jobs.spec.image_to_image import Fit
from app.jobs.spec.references import Pinned, Reference, sha256_of

MaskMode = Literal["white", "black", "transparent"]
Feather = Annotated[int, Field(ge=0, le=64)]

MASK_MODES: tuple[MaskMode, ...] = get_args(MaskMode)
"""Which part of a mask is repainted."""


class Inpaint(CommonWish):
    """A part of a picture painted anew; outside mask and feather every pixel stays as it is.

    Without sides the result is as large as the picture.  With sides picture and mask are resized first, as
    image_to_image resizes, and it is the resized picture that stays as it is.
    """

    task: Literal["inpaint"]
    image: Reference
    mask: Reference
    mask_mode: MaskMode = "white"
    feather: Feather = 0
    strength: Strength = 1.0
    width: Side | None = None
    height: Side | None = None
    fit: Fit = "cover"

    @property
    def references(self) -> dict[str, str]:
        """The picture, and what marks the part."""
        return {"image": self.image, "mask": self.mask}


class InpaintParams(CommonParams):
    """A part of a picture painted anew, complete.

    developed_pixels: at most so many pass through the model, which sees the mask and some surroundings.
    """

    task: Literal["inpaint"]
    image: Pinned
    mask: Pinned
    mask_mode: MaskMode
    feather: Feather
    strength: Strength
    fit: Fit
    developed_pixels: Annotated[int, Field(ge=1)]

    @property
    def inputs(self) -> dict[str, str]:
        """The picture, and what marks the part."""
        return {"image": sha256_of(self.image), "mask": sha256_of(self.mask)}

    @property
    def steps_run(self) -> int:
        """Those that are left where the part was noised only so far."""
        return steps_of_strength(self.steps, self.strength)

    @property
    def pixels(self) -> int:
        """Those of the region that is developed, however large the picture around it is."""
        return self.developed_pixels
