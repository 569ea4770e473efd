"""A picture from a picture and words."""

from typing import Literal

from app.jobs.spec.fields import CommonParams, CommonWish, Side, Strength, steps_of_strength
from app.jobs.spec.references import Pinned, Reference, sha256_of

Fit = Literal["cover", "contain"]


class ImageToImage(CommonWish):
    """A picture from a picture and words.

    Without sides the result is as large as the picture, shrunk to the model's limit.  With one side, the other
    follows from the picture.  With both, `cover` fills them and cuts off what hangs over; `contain` stays inside.
    """

    task: Literal["image_to_image"]
    image: Reference
    strength: Strength = 0.8
    width: Side | None = None
    height: Side | None = None
    fit: Fit = "cover"

    @property
    def references(self) -> dict[str, str]:
        """The picture it begins with."""
        return {"image": self.image}


class ImageToImageParams(CommonParams):
    """A picture from a picture and words, complete."""

    task: Literal["image_to_image"]
    image: Pinned
    strength: Strength
    fit: Fit

    @property
    def inputs(self) -> dict[str, str]:
        """The picture it begins with."""
        return {"image": sha256_of(self.image)}

    @property
    def steps_run(self) -> int:
        """Those that are left where the picture was noised only so far."""
        return steps_of_strength(self.steps, self.strength)
