"""Strangers' pictures become plain ones; whatever else is sent is refused, and costs little."""

import hashlib
import io
import random
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from app.jobs import pictures
from app.jobs.failures import BadPicture, Busy
from app.jobs.pictures import MAX_PICTURE_SIDE, MAX_SCANS, normalise
from app.jobs.spec import MAX_FILE_BYTES

ORIENTATION = 0x0112


def scene(mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> Image.Image:
    """A picture with a red left and a blue right half, so that one sees which way it is turned."""
    picture = Image.new("RGB", size, (200, 10, 20))
    ImageDraw.Draw(picture).rectangle((size[0] // 2, 0, size[0], size[1]), fill=(10, 30, 220))
    return picture.convert(mode)


def file_of(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def plain(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(normalise(data).data)) as image:
        image.load()
        return image


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with their checksums right."""
    packed = [
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0)


END = (b"IEND", b"")


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_picture_keeps_every_pixel(format: str, options: dict[str, Any]) -> None:
    picture = normalise(file_of(scene(), format, **options))
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert image.tobytes() == scene().tobytes()
    assert (picture.given.width, picture.given.height) == (12, 8)
    assert picture.given.sha256 == hashlib.sha256(picture.data).hexdigest()


def test_a_jpeg_is_what_it_looks_like() -> None:
    data = file_of(scene(size=(64, 64)), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as expected:
        assert plain(data).tobytes() == expected.convert("RGB").tobytes()


def test_equal_pixels_are_one_blob_whatever_file_they_came_in() -> None:
    said = PngInfo()
    said.add_text("parameters", "a secret prompt")
    files = [
        file_of(scene()),
        file_of(scene(), pnginfo=said, dpi=(300, 300)),
        file_of(scene(), "WEBP", lossless=True),
        file_of(scene("RGBA")),
        file_of(scene().quantize(4)),
    ]
    assert len({normalise(data).given.sha256 for data in files}) == 1


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "my home address"
    said = PngInfo()
    said.add_itxt("parameters", "my home address")
    options = {"exif": exif, "icc_profile": b"my home address" * 9, "xmp": b"my home address"}
    for data in (
        file_of(scene(), "PNG", pnginfo=said, **options),
        file_of(scene(), "JPEG", comment=b"my home address", **options),
        file_of(scene(), "WEBP", **options),
    ):
        assert b"my home address" in data or b"iCCP" in data
        kept = normalise(data).data
        assert {kept[at + 4 : at + 8] for at in chunk_starts(kept)} == {b"IHDR", b"IDAT", b"IEND"}


def chunk_starts(data: bytes) -> list[int]:
    starts, at = [], 8
    while at < len(data):
        starts.append(at)
        at += 12 + struct.unpack(">L", data[at : at + 4])[0]
    return starts


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = plain(file_of(scene(size=(64, 32)), format, exif=exif, **({} if format == "PNG" else {"quality": 95})))
    assert turned.size == ((64, 32) if orientation < 5 else (32, 64))
    red_at = {1: (8, 16), 4: (8, 16), 2: (56, 16), 3: (56, 16), 5: (16, 8), 6: (16, 8), 7: (16, 56), 8: (16, 56)}
    red, _, blue = turned.getpixel(red_at[orientation])
    assert red > 150 > 60 > blue


def test_exif_that_is_broken_is_no_reason_to_refuse_a_picture() -> None:
    assert plain(file_of(scene(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (12, 8)


def test_alpha_is_kept_where_it_matters() -> None:
    half = scene("RGBA")
    half.putalpha(Image.new("L", half.size, 128))
    assert plain(file_of(half)).getpixel((0, 0)) == (200, 10, 20, 128)
    assert plain(file_of(half, "WEBP", lossless=True)).mode == "RGBA"
    grey = Image.merge("LA", (Image.new("L", (4, 4), 77), Image.new("L", (4, 4), 9)))
    assert plain(file_of(grey)).getpixel((0, 0)) == (77, 77, 77, 9)


def test_a_palette_is_resolved_with_its_transparent_colour() -> None:
    picture = scene().quantize(2)
    index = picture.getpixel((0, 0))
    image = plain(file_of(picture, transparency=index))
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0))[3] == 0
    assert image.getpixel((11, 0)) == (10, 30, 220, 255)


def test_grey_and_one_bit_pictures_become_colour() -> None:
    assert plain(file_of(Image.new("L", (2, 2), 99))).getpixel((0, 0)) == (99, 99, 99)
    assert plain(file_of(Image.new("1", (2, 2), 1))).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_rounded_to_eight_and_not_cut_off() -> None:
    levels = struct.pack(">8H", 0, 128, 129, 257, 32768, 65279, 65407, 65535)
    rows = zlib.compress(b"\0" + levels)
    image = plain(png(header(8, 1, bits=16, colour=0), (b"IDAT", rows), END))
    assert [image.getpixel((x, 0))[0] for x in range(8)] == [0, 0, 1, 1, 128, 254, 255, 255]
    colour = png(header(1, 1, bits=16), (b"IDAT", zlib.compress(b"\0" + struct.pack(">3H", 65535, 32768, 0))), END)
    assert plain(colour).getpixel((0, 0)) == (255, 128, 0)


def test_printers_colours_become_light() -> None:
    image = plain(file_of(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = image.getpixel((4, 4))
    assert red > 240 > 20 > max(green, blue)


def test_a_picture_of_the_largest_side_is_taken_and_a_larger_one_is_not() -> None:
    assert normalise(file_of(Image.new("L", (MAX_PICTURE_SIDE, 2)))).given.width == MAX_PICTURE_SIDE
    with pytest.raises(BadPicture, match="must be a picture of at most 4096 x 4096 pixels"):
        normalise(file_of(Image.new("L", (2, MAX_PICTURE_SIDE + 1))))


def test_a_file_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(BadPicture, match="at most 20 MiB"):
        normalise(file_of(scene()) + bytes(MAX_FILE_BYTES))


def animation(format: str) -> bytes:
    return file_of(scene(), format, save_all=True, append_images=[scene().transpose(Image.Transpose.ROTATE_180)])


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_is_refused(format: str) -> None:
    with pytest.raises(BadPicture, match="not an animation"):
        normalise(animation(format))


def test_of_a_phones_two_pictures_the_first_is_taken() -> None:
    data = animation("MPO")
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2
    assert plain(data).getpixel((0, 0))[0] > 150


def truncated(format: str) -> bytes:
    noise = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3))
    data = file_of(noise, format)
    return data[: len(data) // 2]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\x89",
    "only a signature": lambda: b"\x89PNG\r\n\x1a\n",
    "text": lambda: b"<html><script>alert(1)</script></html>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "gif": lambda: file_of(scene(), "GIF"),
    "bmp": lambda: file_of(scene(), "BMP"),
    "tiff": lambda: file_of(scene(), "TIFF"),
    "ico": lambda: file_of(scene(), "ICO"),
    "eps": lambda: file_of(scene(), "EPS"),
    "a signature on something else": lambda: b"\x89PNG\r\n\x1a\n" + file_of(scene(), "GIF"),
    "half a png": lambda: truncated("PNG"),
    "half a jpeg": lambda: truncated("JPEG"),
    "half a webp": lambda: truncated("WEBP"),
    "no pixels": lambda: png(header(8, 8), END),
    "a side of nothing": lambda: png(header(0, 8), (b"IDAT", zlib.compress(b"")), END),
    "a huge header": lambda: png(header(2**31 - 1, 2**31 - 1), (b"IDAT", zlib.compress(bytes(9))), END),
    "a wrong checksum": lambda: file_of(scene())[:29] + bytes(4) + file_of(scene())[33:],
    "a chunk longer than the file": lambda: png(header(8, 8)) + struct.pack(">L", 2**31 - 1) + b"IDAT",
    "text that unfolds": lambda: png(
        header(8, 8), (b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20))), (b"IDAT", zlib.compress(bytes(200))), END
    ),
    "a profile that unfolds": lambda: png(
        header(8, 8), (b"iCCP", b"a\0\0" + zlib.compress(bytes(80 << 20))), (b"IDAT", zlib.compress(bytes(20))), END
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_whole_picture_is_refused(kind: str) -> None:
    with pytest.raises(BadPicture, match=r"must be a (whole PNG|picture of at most)"):
        normalise(HOSTILE[kind]())


def test_a_picture_with_something_behind_it_loses_that() -> None:
    archive = b"PK\x03\x04 and the rest of an archive"
    assert archive not in normalise(file_of(scene()) + archive).data


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_damaged_file_is_a_picture_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(file_of(scene(), data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = normalise(bytes(whole))
    except BadPicture:
        return
    assert max(picture.given.width, picture.given.height) <= MAX_PICTURE_SIDE


def test_a_small_file_of_a_large_picture_is_refused_before_it_is_decoded() -> None:
    side = 30_000
    bomb = png(header(side, side), (b"IDAT", zlib.compress(bytes(1 << 20))), END)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(BadPicture):
        normalise(bomb)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - began < 1
    assert peak_bytes < 8 << 20


def test_a_jpeg_that_would_be_gone_over_again_and_again_is_refused() -> None:
    whole = file_of(scene(size=(64, 64)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    many = whole[:-2] + whole[last:-2] * MAX_SCANS + b"\xff\xd9"
    assert plain(whole).size == (64, 64)
    with pytest.raises(BadPicture, match="at most 100 scans"):
        normalise(many)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    decode = pictures._plain

    def counted(image: Image.Image) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        try:
            return decode(image)
        finally:
            inside -= 1

    monkeypatch.setattr(pictures, "_plain", counted)
    monkeypatch.setattr(pictures, "LARGE_PIXELS", 50)
    threads = [threading.Thread(target=normalise, args=(file_of(scene()),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_crowd_of_large_pictures_is_sent_away_and_small_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGE_PIXELS", 100)
    monkeypatch.setattr(pictures, "_line", threading.BoundedSemaphore(1))
    large, small = file_of(scene(size=(11, 10))), file_of(scene(size=(9, 9)))
    with pictures._in_turn(1000):
        with pytest.raises(Busy):
            normalise(large)
        assert normalise(small)
    assert normalise(large)


@pytest.mark.parametrize(
    ("colour", "marks"),
    [
        ((255, 255, 255, 255), {"white"}),
        ((128, 128, 128, 255), {"white"}),
        ((127, 127, 127, 255), {"black"}),
        ((0, 0, 0, 255), {"black"}),
        ((255, 255, 255, 0), {"transparent"}),
        ((0, 0, 0, 127), {"transparent"}),
        ((0, 0, 0, 128), {"black"}),
    ],
)
def test_what_a_mask_of_one_colour_marks(colour: tuple[int, int, int, int], marks: set[str]) -> None:
    assert normalise(file_of(Image.new("RGBA", (3, 3), colour))).given.marks == marks


def test_one_pixel_is_a_mark() -> None:
    mask = Image.new("L", (64, 64))
    mask.putpixel((63, 63), 255)
    assert normalise(file_of(mask)).given.marks == {"white", "black"}
