"""Strangers' pictures, made plain: PNG, JPEG and WebP in; PNG without metadata out, in RGB, or RGBA if it matters.

What a file says of its size is looked at before anything is decoded, so that no small file becomes a large picture.
"""

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageOps

from app.jobs.failures import BadPicture, Busy
from app.jobs.spec import MAX_FILE_BYTES, Given

MAX_PICTURE_SIDE = 4096

# Each scan of a progressive JPEG goes over the whole picture; real ones have about ten.
MAX_SCANS = 100

# Pictures above this are decoded one at a time: 4096 x 4096 take 64 MB, more than once.
LARGE_PIXELS = 1 << 20

KINDS = ("PNG", "JPEG", "WEBP")

# A phone's JPEG may hold a second picture for depth or brightness; the first is the one people mean.
_FIRST_OF_MANY = ("MPO",)

# Two thirds of the default's time, and a few per cent of its size.
_COMPRESS_LEVEL = 3

_THUMBNAIL_QUALITY = 80

# As many threads as may wait for their turn; the process has other work for the rest.
_MAX_IN_LINE = 8

_line = threading.BoundedSemaphore(_MAX_IN_LINE)
_turn = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """A plain picture: the bytes of its PNG, and what is known of it."""

    data: bytes
    given: Given


def normalise(data: bytes) -> Picture:
    """The picture in a stranger's file: turned as its EXIF says, in 8 bit, with its alpha if it has any.

    Colour profiles are dropped, not applied.
    Raises: BadPicture, whose text continues the sentence that a field begins; Busy if many large ones wait.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadPicture(f"must be a file of at most {MAX_FILE_BYTES >> 20} MiB")
    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as image:
            _check(image, data)
            with _in_turn(image.width * image.height):
                return _plain(image)
    except (BadPicture, Busy, MemoryError):
        raise
    except Exception as error:
        # Pillow's readers raise what they like: OSError, SyntaxError, struct.error, zlib.error, KeyError and more.
        raise BadPicture("must be a whole PNG, JPEG or WebP file") from error


def thumbnail(data: bytes, side: int) -> bytes:
    """A picture of ours as a WebP that fits into a square of `side` pixels; a smaller one keeps its size.

    Raises: Busy if many large ones wait.
    """
    with Image.open(io.BytesIO(data), formats=KINDS) as image, _in_turn(image.width * image.height):
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        # What it says besides its pixels is in the picture.
        small = image.convert("RGB")
        small.info.clear()
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=_THUMBNAIL_QUALITY)
        return buffer.getvalue()


def marks_of(image: Image.Image) -> frozenset[str]:
    """The mask modes by which the picture, as a mask, would mark at least one pixel."""
    return frozenset(mode for mode in ("white", "black", "transparent") if mask_of(image, mode).getbbox() is not None)


def mask_of(image: Image.Image, mode: str) -> Image.Image:
    """What a mask marks, 255 in a picture of mode L.

    `white` and `black` mean lighter and darker than the middle where it is opaque; `transparent` where it is not.
    """
    opaque = image.getchannel("A").point(_upper_half) if image.mode == "RGBA" else None
    if mode == "transparent":
        return Image.new("L", image.size) if opaque is None else ImageChops.invert(opaque)
    light = image.convert("L").point(_upper_half)
    marked = light if mode == "white" else ImageChops.invert(light)
    return marked if opaque is None else ImageChops.multiply(marked, opaque)


_upper_half = [0] * 128 + [255] * 128


def _check(image: Image.Image, data: bytes) -> None:
    """Refuse by the header what should not be decoded.  Raises: BadPicture."""
    if max(image.size) > MAX_PICTURE_SIDE:
        size = f"{MAX_PICTURE_SIDE} x {MAX_PICTURE_SIDE}"
        raise BadPicture(f"must be a picture of at most {size} pixels")
    if getattr(image, "is_animated", False) and image.format not in _FIRST_OF_MANY:
        raise BadPicture("must be one picture, not an animation")
    if image.format in ("JPEG", *_FIRST_OF_MANY) and data.count(b"\xff\xda") > MAX_SCANS:
        raise BadPicture(f"must be a JPEG of at most {MAX_SCANS} scans")


@contextmanager
def _in_turn(pixels: int) -> Iterator[None]:
    """Let in one large picture at a time.  Raises: Busy."""
    if pixels <= LARGE_PIXELS:
        yield
        return
    if not _line.acquire(blocking=False):
        raise Busy("many large pictures came at once")
    try:
        with _turn:
            yield
    finally:
        _line.release()


def _plain(image: Image.Image) -> Picture:
    # Many whole pictures have EXIF that is broken; what is wrong with the pixels, the next line finds as well.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    plain = _in_eight_bit(image)
    # Profiles, dates and places would be written into the PNG.
    plain.info.clear()
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    return Picture(data, Given(sha256, plain.width, plain.height, marks_of(plain)))


def _as(image: Image.Image, mode: str) -> Image.Image:
    # A conversion to what it is already would be a second picture beside it, and they are large.
    return image if image.mode == mode else image.convert(mode)


def _in_eight_bit(image: Image.Image) -> Image.Image:
    """RGB, or RGBA if a pixel is not wholly opaque."""
    if image.mode.startswith("I"):
        # Grey in 16 bit: a plain conversion would cut it off at 255.
        return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return _as(image, "RGB")
    whole = _as(image, "RGBA")
    is_opaque = whole.getchannel("A").getextrema() == (255, 255)
    return whole.convert("RGB") if is_opaque else whole
