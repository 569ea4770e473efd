"""Super-resolution: scales, tiles, and enlargements that agree with what was enlarged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Pipeline, RequestError, SuperResolution
from models.process import add_noise
from models.tasks.consistency import box_average, keep_colours, project
from models.tasks.super_resolution import Enlarge
from tests.models.conftest import small_pipeline

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
REQUEST = SuperResolution(image=PICTURE, num_steps=1, guidance_scale=1.0)


@pytest.fixture
def upscaler() -> Pipeline:
    return small_pipeline(in_channels=7, num_class_embeds=1000)


@pytest.mark.parametrize(("scale", "times"), [(None, 4), (4, 4), (2, 2)])
@pytest.mark.parametrize("size", [(8, 8), (5, 13), (1, 21)])
def test_any_size_is_enlarged_by_the_scale_and_consistent_if_asked(
    upscaler: Pipeline, scale: int | None, times: int, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    large = upscaler.generate(replace(REQUEST, image=image, scale=scale, consistent=True))[0]
    assert large.shape == (times * size[0], times * size[1], 3)
    boxes = large.reshape(size[0], times, size[1], times, 3).mean((1, 3))
    assert np.abs(boxes - image).max() <= 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([2, 4]), st.floats(0, 20))
def test_a_projection_is_consistent_after_rounding_whatever_was_decoded(seed: int, scale: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(0, 256, (3, 4, 5), generator=generator)
    small[:, 0] = 255 * (small[:, 0] > 127)  # the hardest averages are those at the ends
    image = spread * torch.randn(3, 4 * scale, 5 * scale, generator=generator)
    pixels = Enlarge(small / 127.5 - 1, scale, 1, consistent=True, keep_colours=False)(image)
    boxes = pixels.reshape(4, scale, 5, scale, 3).mean((1, 3))
    assert np.abs(boxes - small.permute(1, 2, 0).numpy()).max() <= 1.0


def test_colours_that_drift_are_drawn_back_and_details_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    fine = torch.rand(2, 3, 32, 32, generator=generator) * 0.4 - 0.2
    small = box_average(fine, 4)
    drifted = fine + 0.3
    kept = keep_colours(drifted, small)
    assert (box_average(kept, 4) - small).abs().max() < 0.1 * (box_average(drifted, 4) - small).abs().max()
    torch.testing.assert_close(kept, fine, rtol=0, atol=0.02)
    torch.testing.assert_close(keep_colours(fine, small), fine, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="no whole multiple"):
        keep_colours(fine, torch.zeros(2, 3, 3, 2))


def test_a_projection_moves_no_picture_that_agrees_already() -> None:
    image = torch.rand(3, 8, 8) * 2 - 1
    torch.testing.assert_close(project(image, box_average(image, 4)), image, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="no whole multiple"):
        project(image, torch.zeros(3, 3, 2))


def test_the_network_sees_the_small_picture_at_its_noise_level(upscaler: Pipeline) -> None:
    labels: list[torch.Tensor] = []
    upscaler.unet.register_forward_pre_hook(
        lambda _, inputs, named: labels.append(named["class_labels"]), with_kwargs=True
    )
    (row,) = upscaler.begin(replace(REQUEST, noise_level=33, guidance_scale=2.0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 8, 8, generator=generator)
    small = torch.from_numpy(PICTURE).permute(2, 0, 1) / 127.5 - 1
    assert upscaler.low_res is not None
    torch.testing.assert_close(row.extra, add_noise(small, noise, upscaler.low_res.schedule.alpha_bar[33]))
    assert torch.equal(row.latents, torch.randn(4, 8, 8, generator=generator))
    upscaler.step([row])
    assert labels[0].tolist() == [33, 33]


def test_a_large_picture_is_denoised_and_decoded_in_tiles_of_the_native_size(upscaler: Pipeline) -> None:
    seen: list[tuple[int, ...]] = []
    upscaler.unet.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    image = np.full((8, 20, 3), 90, np.uint8)
    assert upscaler.generate(replace(REQUEST, image=image)).shape == (1, 32, 80, 3)
    assert seen == [(1, 7, 8, 8)] * 3
    assert upscaler.begin(REQUEST)[0].tiling is None
    assert upscaler.begin(REQUEST)[0].bucket != upscaler.begin(replace(REQUEST, image=image))[0].bucket


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"scale": 3}, "scale", "2 or 4, got 3"),
        ({"noise_level": 351}, "noise_level", "0 to 350, got 351"),
        ({"noise_level": -1}, "noise_level", "got -1"),
    ],
)
def test_what_cannot_be_done_names_the_field(
    upscaler: Pipeline, changes: dict[str, object], field: str, allowed: str
) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        upscaler.begin(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert error.value.field == field


def test_a_model_that_is_no_upscaler_says_so(pipeline: Pipeline) -> None:
    with pytest.raises(RequestError, match="needs an upscaler"):
        pipeline.begin(REQUEST)
