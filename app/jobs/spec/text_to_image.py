"""A picture from words."""

from typing import Literal

from app.jobs.spec.fields import CommonParams, CommonWish, Side


class TextToImage(CommonWish):
    """A picture from words.  Sides are pixels; null means: the model's default."""

    task: Literal["text_to_image"]
    width: Side | None = None
    height: Side | None = None


class TextToImageParams(CommonParams):
    """A picture from words, complete."""

    task: Literal["text_to_image"]
