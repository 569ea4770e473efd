"""Things as small pictures with transparency: drawn once from the font, then resized and kept.

Axes: h, w pixels, 4 = red, green, blue, alpha.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.training.domain import Thing
from models.training.shapes import draw_shape

FONT = Path(__file__).parent / "assets" / "NotoColorEmoji.ttf"
# The only size at which this bitmap font can be opened; its glyphs are 136 x 128 pixels.
_FONT_SIZE = 109


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, _FONT_SIZE)


def _draw_glyph(glyph: str) -> Image.Image:
    paper = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(paper).text((10, 10), glyph, font=_font(), embedded_color=True)
    return paper


@lru_cache(maxsize=512)
def original(thing: Thing) -> Image.Image:
    """The thing at its full resolution, cropped to what can be seen of it.

    Raises: ValueError if the font has no picture for it.
    """
    paper = draw_shape(thing) if thing.shape else _draw_glyph(thing.glyph)
    box = paper.getbbox()
    if box is None:
        raise ValueError(f"the font has no picture for {thing.name!r}, glyph {thing.glyph!r}")
    return paper.crop(box)


@lru_cache(maxsize=512)
def extent(thing: Thing) -> tuple[float, float]:
    """Width and height of the thing where its longer side is 1."""
    width, height = original(thing).size
    return width / max(width, height), height / max(width, height)


@lru_cache(maxsize=4096)
def sprite(thing: Thing, width: int, height: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The thing at width x height pixels, ready to be laid over a picture.

    Returns its colours times its alpha, (h, w, 3) in 0..255 * 255, and 255 - alpha, (h, w, 1).
    """
    resized = original(thing).resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(resized, dtype=np.uint16)
    alpha = pixels[:, :, 3:]
    return pixels[:, :, :3] * alpha, 255 - alpha


@lru_cache(maxsize=512)
def shadow(width: int) -> NDArray[np.uint16]:
    """What is left (0..255) of the light under a thing of this width: (h, w, 1), a soft ellipse."""
    height = max(3, round(0.16 * width))
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x + 0.5) * 2 / width - 1, (y + 0.5) * 2 / height - 1)
    darkness = 0.30 * np.clip(1.0 - radius, 0.0, 0.6) / 0.6
    light: NDArray[np.uint16] = np.rint(255 * (1 - darkness)).astype(np.uint16)[:, :, None]
    return light
