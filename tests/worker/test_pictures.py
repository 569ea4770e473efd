"""Stored pictures and masks become arrays, each of the size that is wanted."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.app.pictures import file_of, mask, photo
from worker.pictures import colours, marked


def test_a_picture_of_its_own_size_keeps_every_pixel() -> None:
    with Image.open(io.BytesIO(photo())) as image:
        expected = np.array(image)
    assert np.array_equal(colours(photo()), expected)
    assert np.array_equal(colours(photo(), (96, 64)), expected)


def test_what_is_transparent_shows_white() -> None:
    picture = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    picture.putpixel((1, 0), (200, 0, 0, 0))
    assert colours(file_of(picture)).tolist() == [[[200, 0, 0], [255, 255, 255]]]


def stripes() -> bytes:
    """Red, green and blue, each a third of the width."""
    picture = Image.new("RGB", (90, 30))
    for index, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        picture.paste(colour, (30 * index, 0, 30 * index + 30, 30))
    return file_of(picture)


def test_what_hangs_over_is_cut_off_on_either_side() -> None:
    middle = colours(stripes(), (30, 30))
    assert (middle == (0, 255, 0)).all()
    lower = colours(stripes(), (90, 10))
    assert lower.shape == (10, 90, 3)
    assert lower[5, [5, 45, 85]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_picture_grows_where_it_is_too_small() -> None:
    assert colours(stripes(), (180, 60)).shape == (60, 180, 3)


@pytest.mark.parametrize(("mode", "share"), [("white", 31 * 31), ("black", 96 * 64 - 31 * 31), ("transparent", 0)])
def test_a_mask_marks_what_its_mode_says(mode: str, share: int) -> None:
    assert marked(mask(), mode, (96, 64)).sum() == share


def test_a_mask_of_transparency_marks_what_is_more_transparent_than_not() -> None:
    picture = Image.new("RGBA", (3, 1), (255, 255, 255, 255))
    picture.putpixel((1, 0), (255, 255, 255, 127))
    picture.putpixel((2, 0), (255, 255, 255, 128))
    assert marked(file_of(picture), "transparent", (3, 1)).tolist() == [[False, True, False]]


def test_a_mask_that_shrinks_loses_no_mark() -> None:
    one = Image.new("L", (64, 64))
    one.putpixel((17, 42), 255)
    small = marked(file_of(one), "white", (16, 16))
    assert small.sum() == 1
    assert small[42 // 4, 17 // 4]


def test_a_mask_is_cut_as_its_picture_is() -> None:
    left = Image.new("L", (90, 30))
    left.paste(255, (0, 0, 30, 30))
    assert not marked(file_of(left), "white", (30, 30)).any()
    assert marked(file_of(left), "black", (30, 30)).all()
