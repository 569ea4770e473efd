"""Inpainting: what is not marked stays to the byte, what is marked is never missed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Inpaint, Pipeline, RequestError
from models.process import add_noise
from models.tasks.given import to_cells
from models.tasks.regions import Region, region_around, soft_edge
from tests.models.conftest import small_pipeline


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height: int, width: int, top: int, left: int, size: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + size, left : left + size] = 255
    return mask


REQUEST = Inpaint(prompt="a fox", image=picture(32, 32), mask=box(32, 32, 8, 9, 7), num_steps=2, guidance_scale=1.0)


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize(
    ("height", "width", "top", "left", "feather"),
    [(32, 32, 8, 9, 0), (31, 9, 0, 0, 3), (90, 41, 80, 30, 4), (70, 200, 3, 60, 64)],
)
def test_beyond_mask_and_feather_every_byte_is_the_pictures(
    channels: int, height: int, width: int, top: int, left: int, feather: int
) -> None:
    image, mask = picture(height, width), box(height, width, top, left, 9)
    pipeline = small_pipeline(in_channels=channels)
    result = pipeline.generate(replace(REQUEST, image=image, mask=mask, feather=feather))[0]
    marked = np.argwhere(mask)
    rows, columns = np.indices((height, width))
    (y0, x0), (y1, x1) = marked.min(0) - feather, marked.max(0) + feather
    outside = (rows < y0) | (rows > y1) | (columns < x0) | (columns > x1)
    assert np.array_equal(result[outside], image[outside])
    assert (result[mask > 0] != image[mask > 0]).any(axis=-1).mean() > 0.9


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_mask_reaches_its_cells_however_it_is_scaled(height: int, width: int, data: st.DataObject) -> None:
    mask = torch.zeros(1, 1, height, width)
    places = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    for y, x in data.draw(st.lists(places, min_size=1, max_size=5)):
        mask[0, 0, y, x] = 1.0
    feather = data.draw(st.integers(0, 6))
    region = region_around(mask, feather, (16, 16))
    share = soft_edge(mask, feather)
    assert (region.of(share) > 0).sum() == (share > 0).sum()  # all that changes lies in the region
    shrunk = region.shrink_mask(mask)
    assert shrunk.shape[-2:] == region.developed
    assert max(region.developed) <= 16 or region.developed == (height, width)
    # each marked pixel, seen at the developed size, is marked
    for y, x in region.of(mask)[0, 0].nonzero().tolist():
        there = (y * region.developed[0] // region.height, x * region.developed[1] // region.width)
        assert shrunk[0, 0, there[0], there[1]] == 1


def test_cells_are_marked_by_maximum() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[0, 0, 3, 4] = 1.0
    assert to_cells(mask, 4)[0, 0].tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_a_soft_edge_is_a_straight_ramp_outside_the_mask() -> None:
    mask = torch.zeros(1, 1, 1, 9)
    mask[..., 0] = 1.0
    ramp = soft_edge(mask, 3)[0, 0, 0]
    torch.testing.assert_close(ramp, torch.tensor([1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]))
    assert torch.equal(soft_edge(mask, 0), mask)


def test_a_small_hole_in_a_large_picture_is_developed_at_full_size() -> None:
    mask = torch.zeros(1, 1, 300, 200)
    mask[..., 290:, 100:110] = 1.0
    assert region_around(mask, 0, (64, 64)) == Region(236, 73, 64, 64, developed=(64, 64))


def test_a_large_hole_is_developed_smaller_with_surroundings_in_the_models_proportions() -> None:
    mask = torch.zeros(1, 1, 300, 300)
    mask[..., 100:200, 150:160] = 1.0
    assert region_around(mask, 0, (64, 32)) == Region(75, 117, 150, 75, developed=(64, 32))


def test_known_cells_end_as_the_picture_and_go_through_its_own_noise(pipeline: Pipeline) -> None:
    (row,) = pipeline.begin(REQUEST)
    assert row.known is not None
    x0, noise = row.known.x0, row.known.noise
    assert torch.equal(noise, torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)))
    keep = (row.known.mask == 0).expand_as(x0)
    pipeline.step([row])
    torch.testing.assert_close(row.latents[keep], add_noise(x0, noise, row.plan.levels[1])[keep])
    pipeline.step([row])
    torch.testing.assert_close(row.latents[keep], x0[keep])


def test_an_inpainting_network_is_told_the_mask_and_what_it_leaves() -> None:
    pipeline = small_pipeline(in_channels=9)
    (row,) = pipeline.begin(REQUEST)
    assert row.known is None
    assert row.extra is not None
    cells = np.zeros((8, 8))
    cells[2:4, 2:4] = 1
    assert row.extra[0].tolist() == cells.tolist()
    left = REQUEST.image / 127.5 - 1
    left[REQUEST.mask > 0] = 0
    expected = pipeline.encode_image(torch.from_numpy(left).float().permute(2, 0, 1)[None])
    torch.testing.assert_close(row.extra[1:], expected)


def test_what_lies_under_the_mask_does_not_reach_the_network_by_the_padding() -> None:
    pipeline = small_pipeline(in_channels=9)
    mask = box(30, 30, 20, 20, 10)
    one, other = picture(30, 30), picture(30, 30)
    other[mask > 0] = 0
    extras = [pipeline.begin(replace(REQUEST, image=image, mask=mask))[0].extra for image in (one, other)]
    assert torch.equal(*extras)  # type: ignore[arg-type]


def test_at_less_than_full_strength_it_starts_from_the_picture(pipeline: Pipeline) -> None:
    (row,) = pipeline.begin(replace(REQUEST, strength=0.5))
    assert row.known is not None
    assert row.num_steps == 1
    torch.testing.assert_close(row.latents, add_noise(row.known.x0, row.known.noise, row.plan.levels[0]))


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"feather": 65}, "feather", "0 to 64 pixels, got 65"),
        ({"feather": -1}, "feather", "got -1"),
        ({"mask": np.zeros((32, 32), bool)}, "mask", "at least one pixel"),
        ({"mask": np.ones((32, 31), bool)}, "mask", "32 rows and 32 columns"),
        ({"strength": 1.5}, "strength", "got 1.5"),
        ({"image": np.zeros((32, 32), np.uint8)}, "image", "height, width, 3"),
    ],
)
def test_what_cannot_be_done_names_the_field(
    pipeline: Pipeline, changes: dict[str, object], field: str, allowed: str
) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        pipeline.begin(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert error.value.field == field
