"""Pictures at the door."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import RequestError
from models.pixels import Crop, as_image, pad, padded_side, to_pixels


def test_every_byte_comes_back() -> None:
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(to_pixels(as_image(picture)[0]), picture)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((4, 4), np.uint8), "must be"),
        (np.zeros((4, 4, 4), np.uint8), "must be"),
        (np.zeros((0, 4, 3), np.uint8), "must be"),
        (np.zeros((4, 4, 3), np.int64), "must be uint8"),
        (torch.full((4, 4, 3), 1.5), "1.5 to 1.5"),
        (torch.full((4, 4, 3), float("nan")), "nan"),
    ],
)
def test_what_is_no_picture_is_refused(picture: object, said: str) -> None:
    with pytest.raises(RequestError, match=said) as error:
        as_image(picture)  # type: ignore[arg-type]
    assert error.value.field == "image"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.integers(1, 12))
def test_padding_repeats_the_edge_and_is_cut_off_again(height: int, width: int, multiple: int, least: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sides = [padded_side(side, multiple, least) for side in (height, width)]
    padded = pad(as_image(picture), *sides)
    assert all(side % multiple == 0 and side >= least for side in padded.shape[-2:])
    assert padded.shape[-2] - max(height, least) < multiple
    assert torch.equal(padded[0, :, -1, -1], as_image(picture)[0, :, -1, -1])
    assert np.array_equal(Crop(height, width)(padded[0]), picture)
