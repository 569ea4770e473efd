"""Three hundred hostile files, and a process that is given them one after the other:

    python -m tests.app.jobs.hostile

prints for each what became of it, the processor's time it took, and how far the process's memory rose above what it
was before.
"""

import io
import json
import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.jobs.failures import BadPicture
from app.jobs.pictures import normalise
from tests.app.pictures import file_of

FORMATS = ("PNG", "JPEG", "WEBP")
ORIENTATION = 0x0112
REFUSED, EITHER = "refused", "either"
"""What must become of a file; or the size of the picture that it is."""

Size = tuple[int, int]
Hostile = tuple[str, bytes, str | Size]


def files() -> Iterator[Hostile]:
    """Every file, with its name and what must become of it."""
    for family in (_bombs, _huge_headers, _truncated, _flipped, _polyglots, _strangers, _animated, _modes, _turned):
        for name, data, fate in family():
            yield f"{family.__name__[1:]}: {name}", data, fate


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with their checksums right."""
    packed = [
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _header(width: int, height: int, bits: int = 8, colour: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, interlaced)


END = (b"IEND", b"")


def _photo(side: int = 64) -> Image.Image:
    return Image.frombytes("RGB", (side, side), random.Random(side).randbytes(side * side * 3))


def _bombs() -> Iterator[Hostile]:
    little = zlib.compress(bytes(1 << 20))
    for side in (4097, 5000, 13_000, 30_000, 65_535, 1 << 20, 2**31 - 1):
        for bits, colour in ((8, 2), (16, 6), (1, 0), (8, 3)):
            yield (
                f"{side} in {bits} bits {colour}",
                png(_header(side, side, bits, colour), (b"IDAT", little), END),
                REFUSED,
            )
        yield f"{side} wide", png(_header(side, 1), (b"IDAT", little), END), REFUSED
        yield f"{side} high", png(_header(1, side), (b"IDAT", little), END), REFUSED
    largest = 4096, 4096
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"):
        yield f"the largest in {mode}", file_of(Image.new(mode, largest)), largest
    yield "the largest in JPEG", file_of(Image.new("CMYK", largest), "JPEG"), largest
    yield "the largest progressive", file_of(Image.new("RGB", largest), "JPEG", progressive=True), largest
    yield "the largest in WebP", file_of(Image.new("RGBA", largest), "WEBP", quality=1, method=0), largest
    more = zlib.compress(bytes(64 << 20), 9)
    yield "more pixels than its header says", png(_header(8, 8), (b"IDAT", more), END), EITHER
    yield "a WebP as large as they get", file_of(Image.new("L", (16_383, 1)), "WEBP", method=0), REFUSED
    for kind in (b"zTXt", b"iCCP"):
        unfolds = (kind, b"a\0\0" + zlib.compress(bytes(80 << 20), 9))
        yield f"{kind.decode()} that unfolds", png(_header(8, 8), unfolds, (b"IDAT", little), END), REFUSED


def _huge_headers() -> Iterator[Hostile]:
    whole = file_of(_photo())
    for count, size in ((1, 10 << 20), (20_000, 100), (100, 100_000)):
        chunks = b"".join(png((b"tEXt", b"a\0" + b"x" * size))[8:] for _ in range(count))
        yield f"{count} texts of {size} bytes", whole[:33] + chunks + whole[33:], EITHER
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    yield "a long description", file_of(_photo(), "JPEG", exif=exif), (64, 64)
    yield "a profile of 10 MB", file_of(_photo(), "PNG", icc_profile=bytes(10 << 20)), EITHER
    segment = b"\xff\xe5" + struct.pack(">H", 65_535) + bytes(65_533)
    jpeg = file_of(_photo(), "JPEG")
    for count in (10, 300):
        yield f"{count} segments", jpeg[:2] + segment * count + jpeg[2:], (64, 64) if count == 10 else EITHER
    directory = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 65_535) + bytes(65_000)
    for name, broken in (
        ("endless", directory),
        ("to itself", b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        ("nothing", b"Exif\0\0"),
    ):
        yield f"exif: {name}", file_of(_photo(), "JPEG", exif=broken[:65_000]), (64, 64)


def _truncated() -> Iterator[Hostile]:
    for format in FORMATS:
        whole = file_of(_photo(), format)
        for tenths in range(20):
            yield f"{format} cut at {tenths}/20", whole[: len(whole) * tenths // 20], REFUSED


def _flipped() -> Iterator[Hostile]:
    for format in FORMATS:
        for number in range(25):
            dice = random.Random(f"{format}{number}")
            damaged = bytearray(file_of(_photo(), format))
            for _ in range(1 + number):
                damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
            yield f"{format} {number}", bytes(damaged), EITHER


def _polyglots() -> Iterator[Hostile]:
    tails = {
        "zip": b"PK\x03\x04",
        "html": b"<script>alert(1)</script>",
        "php": b"<?php system($_GET[0]);",
        "zeros": bytes(1 << 20),
    }
    for format in FORMATS:
        for name, tail in tails.items():
            yield f"{format} with {name} behind", file_of(_photo(), format) + tail, (64, 64)
            yield f"{format} behind {name}", tail + file_of(_photo(), format), REFUSED
    for signature, rest in (("PNG", "GIF"), ("JPEG", "PNG"), ("WEBP", "JPEG")):
        yield (
            f"{signature}'s beginning, then {rest}",
            file_of(_photo(), signature)[:16] + file_of(_photo(), rest),
            REFUSED,
        )


def _strangers() -> Iterator[Hostile]:
    for format in ("GIF", "BMP", "TIFF", "ICO", "EPS", "PPM", "TGA", "PCX", "PDF", "JPEG2000", "SGI", "DDS"):
        yield format, file_of(_photo(), format), REFUSED
    texts = {
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "xml": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    }
    for name, text in {**texts, "mvg": b"push graphic-context", "nothing": b"", "zeros": bytes(1000)}.items():
        yield name, text, REFUSED


def _animated() -> Iterator[Hostile]:
    for format in ("PNG", "WEBP", "GIF"):
        for frames in (2, 50):
            more = [_photo(16 + 0 * n) for n in range(frames - 1)]
            # Equal frames are written as one.
            for n, each in enumerate(more):
                each.putpixel((0, 0), (n, 255 - n, 7))
            data = file_of(_photo(16), format, save_all=True, append_images=more)
            yield f"{format} of {frames}", data, REFUSED
    yield "a phone's two pictures", file_of(_photo(), "MPO", save_all=True, append_images=[_photo()]), (64, 64)


def _modes() -> Iterator[Hostile]:
    size = 64, 64
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG in {mode}", file_of(Image.new(mode, size, 1)), size
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        yield f"JPEG in {mode}", file_of(Image.new(mode, size), "JPEG"), size
    for bits, colour in ((1, 0), (2, 0), (4, 0), (16, 0), (16, 2), (16, 4), (16, 6)):
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        rows = zlib.compress((b"\0" + bytes(-(-64 * bits * channels // 8))) * 64)
        yield f"{bits} bits {colour}", png(_header(64, 64, bits, colour), (b"IDAT", rows), END), size
    for bits, colour in ((3, 0), (16, 3), (8, 1), (8, 5), (0, 2), (255, 2)):
        yield (
            f"no such kind {bits} {colour}",
            png(_header(64, 64, bits, colour), (b"IDAT", zlib.compress(bytes(20_000))), END),
            REFUSED,
        )


def _turned() -> Iterator[Hostile]:
    picture = _photo().resize((64, 32))
    for format in FORMATS:
        for orientation in range(10):
            exif = Image.Exif()
            exif[ORIENTATION] = orientation
            yield (
                f"{format} {orientation}",
                file_of(picture, format, exif=exif),
                (64, 32) if orientation not in (5, 6, 7, 8) else (32, 64),
            )
    said = PngInfo()
    said.add_text("parameters", "<script>alert(1)</script>" * 1000)
    yield "with words", file_of(picture, pnginfo=said), (64, 32)


def _became(data: bytes) -> str | Size:
    try:
        picture = normalise(data)
    except BadPicture:
        return REFUSED
    with Image.open(io.BytesIO(picture.data)) as image:
        image.load()
        assert (image.format, image.mode in ("RGB", "RGBA")) == ("PNG", True)
        assert not image.info
    return picture.given.width, picture.given.height


def _memory(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) << 10


def main() -> None:
    """Take every file, and print one line of JSON for each."""
    normalise(file_of(_photo()))
    for name, data, fate in files():
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
        began = time.process_time()
        became: Any = _became(data)
        took_s = time.process_time() - began
        rose = max(0, _memory("VmHWM") - before)
        print(json.dumps({"name": name, "fate": fate, "became": became, "took_s": took_s, "rose_bytes": rose}))


if __name__ == "__main__":
    main()
