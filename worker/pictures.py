"""Stored pictures -> the arrays that pipelines take.

Axes: h height, w width (pixels).  Sizes are (width, height).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.jobs.pictures import mask_of

Size = tuple[int, int]
Box = tuple[float, float, float, float]


def colours(data: bytes, size: Size | None = None) -> NDArray[np.uint8]:
    """The picture (h, w, 3), in this size if one is given; what is transparent shows white behind it.

    What does not fit the size's proportions is cut off, as much on either side.
    """
    with Image.open(io.BytesIO(data)) as image:
        picture = _on_white(image)
    if size is not None and size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, box=_middle(picture.size, size))
    return np.array(picture)


def marked(data: bytes, mode: str, size: Size) -> NDArray[np.bool_]:
    """What a mask marks, (h, w), resized as its picture is; a pixel that is marked in part is marked."""
    with Image.open(io.BytesIO(data)) as image:
        mask = mask_of(image, mode)
    if size != mask.size:
        mask = mask.resize(size, Image.Resampling.BOX, box=_middle(mask.size, size))
    return np.array(mask) > 0


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.convert("RGB")
    whole = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")


def _middle(have: Size, want: Size) -> Box:
    """The largest box of the wanted proportions in the middle of a picture."""
    scale = min(have[0] / want[0], have[1] / want[1])
    width, height = want[0] * scale, want[1] * scale
    left, top = (have[0] - width) / 2, (have[1] - height) / 2
    return left, top, left + width, top + height
