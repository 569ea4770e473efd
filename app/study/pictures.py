"""The pictures of a study, made alike: the same size, the same kind of file, and as many bytes each.

What is shown must not tell what it is by anything but what is on it: not by its sides, nor by how well it compresses.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 512

REFERENCE = Path(__file__).parent / "reference"
"""Scenes that no model here was trained on; the README there tells where they come from."""


@lru_cache
def reference() -> dict[str, str]:
    """The shipped real pictures: file names, and what is on each."""
    captions: dict[str, str] = json.loads((REFERENCE / "captions.json").read_text(encoding="utf-8"))
    return captions


def alike(files: Sequence[bytes]) -> tuple[list[bytes], tuple[int, int]]:
    """The pictures in these files as PNG, all as large as the smallest sides among them, and that size.

    What hangs over is cut off on both ends.  Raises: PIL.UnidentifiedImageError for what is no picture.
    """
    from PIL import Image, ImageOps

    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in files]
    width = min(MAX_SIDE, *(picture.width for picture in pictures))
    height = min(MAX_SIDE, *(picture.height for picture in pictures))
    fitted = [ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS) for picture in pictures]
    return [_png(picture, compress_level=6) for picture in fitted], (width, height)


def veiled(data: bytes) -> bytes:
    """The picture in a file that is as long as that of any other picture of its size: nothing in it is compressed."""
    from PIL import Image

    return _png(Image.open(io.BytesIO(data)).convert("RGB"), compress_level=0)


def _png(picture: Image, compress_level: int) -> bytes:
    picture.info.clear()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()
