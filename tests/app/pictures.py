"""Pictures for the tests of the front door, as files."""

import base64
import io
import random
from typing import Any

from PIL import Image, ImageDraw


def file_of(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The picture in a file of this format."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int = 96, height: int = 64, format: str = "PNG") -> bytes:
    """A picture on which every pixel differs from its neighbours."""
    columns = Image.linear_gradient("L").resize((height, width)).transpose(Image.Transpose.ROTATE_90)
    rows = Image.linear_gradient("L").resize((width, height))
    return file_of(Image.merge("RGB", (columns, rows, Image.new("L", (width, height), 90))), format)


def noise(width: int, height: int, seed: int | None = None) -> bytes:
    """A picture that no compression makes smaller: three bytes a pixel."""
    chance = random.Random(width if seed is None else seed)
    return file_of(Image.frombytes("RGB", (width, height), chance.randbytes(width * height * 3)))


def mask(width: int = 96, height: int = 64, box: tuple[int, int, int, int] = (30, 20, 60, 50)) -> bytes:
    """Black, and white in the box."""
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).rectangle(box, fill=255)
    return file_of(picture)


def data_uri(data: bytes, kind: str = "png") -> str:
    """The file as a client sends it within a body."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
