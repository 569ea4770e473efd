"""Tiles: what they make together is what would be made at once, wherever that can be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models.tiling import Tiling, in_tiles


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 12), st.integers(1, 2), st.integers(1, 3))
def test_a_function_of_single_cells_gives_the_same_in_tiles_as_whole(
    height: int, width: int, side: int, overlap: int, scale: int
) -> None:
    x = torch.linspace(-1, 1, 2 * height * width).view(1, 2, height, width)

    def linear(tile: Tensor) -> Tensor:
        return 3 * F.interpolate(tile, scale_factor=scale, mode="nearest") - 1

    torch.testing.assert_close(in_tiles(linear, x, Tiling(side, side, overlap), scale), linear(x))


def test_a_function_that_looks_at_its_neighbours_gives_the_same_too() -> None:
    x, kernel = torch.randn(2, 3, 23, 31), torch.randn(3, 3, 3, 3)

    def blur(tile: Tensor) -> Tensor:
        return F.conv2d(tile, kernel, padding=1)

    torch.testing.assert_close(in_tiles(blur, x, Tiling(10, 12, 4)), blur(x))


def test_what_fits_in_one_tile_is_left_to_the_function() -> None:
    x = torch.randn(1, 1, 4, 4)
    assert in_tiles(lambda tile: tile, x, Tiling(4, 6, 2)) is x


def test_no_tile_is_larger_than_it_may_be() -> None:
    seen = []

    def look(tile: Tensor) -> Tensor:
        seen.append(tuple(tile.shape[-2:]))
        return tile

    in_tiles(look, torch.zeros(1, 1, 7, 25), Tiling(8, 10, 2))
    assert seen == [(7, 10)] * 3


@pytest.mark.parametrize("overlap", [0, 5])
def test_an_overlap_that_leaves_no_tile_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap must be 1 to half"):
        Tiling(8, 12, overlap)
