"""The pipeline: the same bytes for the same request, each image its own, and clear words for what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import NonFinite, Pipeline, RequestError, Row, TextToImage
from tests.models.conftest import small_pipeline

REQUEST = TextToImage(prompt="a fox in the snow", seed=7, num_steps=4, guidance_scale=3.0)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def test_the_same_request_twice_gives_the_same_bytes(pipeline: Pipeline) -> None:
    for sampler in ("ddim", "ddpm"):
        request = replace(REQUEST, sampler=sampler)
        assert np.array_equal(pipeline.generate(request), pipeline.generate(request))


def test_another_seed_and_another_prompt_give_another_picture(pipeline: Pipeline) -> None:
    picture = pipeline.generate(REQUEST)
    assert not np.array_equal(picture, pipeline.generate(replace(REQUEST, seed=8)))
    assert not np.array_equal(picture, pipeline.generate(replace(REQUEST, prompt="a big owl at night")))


def test_image_k_of_a_batch_equals_the_image_of_seed_plus_k_alone(pipeline: Pipeline) -> None:
    several = pipeline.generate(replace(REQUEST, num_images=3, sampler="ddpm"))
    assert several.shape == (3, 32, 32, 3)
    for index in range(3):
        alone = pipeline.generate(replace(REQUEST, seed=7 + index, sampler="ddpm"))[0]
        assert psnr(several[index], alone) >= 60


def test_in_one_fixed_shape_the_bytes_do_not_depend_on_company_or_place(pipeline: Pipeline) -> None:
    def among(others: list[int], place: int) -> np.ndarray:
        seeds = [*others[:place], 7, *others[place:]]
        rows = [pipeline.begin(replace(REQUEST, seed=seed, sampler="ddpm"))[0] for seed in seeds]
        while not rows[0].is_done:
            pipeline.step(rows)
        return pipeline.finish(rows[place])

    expected = among([1, 2, 3], 0)
    assert np.array_equal(expected, among([4, 5, 6], 0))
    assert np.array_equal(expected, among([4, 4, 7], 3))


def test_seeds_wrap_around_and_zero_is_a_seed(pipeline: Pipeline) -> None:
    rows = pipeline.begin(replace(REQUEST, seed=2**32 - 1, num_images=2))
    assert [row.seed for row in rows] == [2**32 - 1, 0]
    zero = pipeline.begin(replace(REQUEST, seed=0))[0]
    assert torch.equal(rows[1].latents, zero.latents)


def test_seed_42_starts_from_the_noise_that_diffusers_draws_for_42(pipeline: Pipeline) -> None:
    from diffusers.utils.torch_utils import randn_tensor

    expected = randn_tensor((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(42))
    row = pipeline.begin(replace(REQUEST, seed=42))[0]
    assert torch.equal(row.latents, expected[0])


def test_rows_of_different_requests_share_a_step_and_come_out_as_alone(pipeline: Pipeline) -> None:
    requests = [
        replace(REQUEST, num_steps=3),
        replace(REQUEST, seed=1, sampler="ddpm", guidance_scale=1.0),
        replace(REQUEST, seed=2, sampler="dpmpp_2m", num_steps=6, prompt="a big owl at night"),
    ]
    alone = [pipeline.generate(request)[0] for request in requests]
    rows = [pipeline.begin(request)[0] for request in requests]
    while unfinished := [row for row in rows if not row.is_done]:
        pipeline.step(unfinished)
    for row, expected in zip(rows, alone, strict=True):
        assert psnr(pipeline.finish(row), expected) >= 60


def test_without_guidance_the_network_sees_each_row_once(pipeline: Pipeline) -> None:
    seen: list[int] = []
    pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    pipeline.generate(replace(REQUEST, guidance_scale=1.0, num_steps=1, num_images=2))
    pipeline.generate(replace(REQUEST, guidance_scale=3.0, num_steps=1, num_images=2))
    assert seen == [2, 4]


def test_an_inpainting_network_is_told_that_nothing_is_given() -> None:
    pipeline = small_pipeline(in_channels=9)
    row = pipeline.begin(REQUEST)[0]
    assert row.extra is not None
    grey = pipeline.autoencoder.encode(torch.zeros(1, 3, 32, 32))[0]
    assert torch.equal(row.extra[0], torch.ones(8, 8))
    torch.testing.assert_close(row.extra[1:], grey)
    assert pipeline.generate(REQUEST).shape == (1, 32, 32, 3)


def test_on_step_hears_every_step_and_previews_are_one_pixel_a_cell(pipeline: Pipeline) -> None:
    heard: list[int] = []
    previews = []

    def hear(step: int, rows: list[Row]) -> None:
        heard.append(step)
        assert rows[0].x0 is not None
        previews.append(pipeline.preview(rows[0].x0))

    pipeline.generate(REQUEST, on_step=hear)  # type: ignore[arg-type]
    assert heard == [1, 2, 3, 4]
    assert all(preview.shape == (8, 8, 3) and preview.dtype == np.uint8 for preview in previews)


def test_given_noise_replaces_the_seeds(pipeline: Pipeline) -> None:
    row = pipeline.begin(REQUEST)[0]
    given = pipeline.generate(replace(REQUEST, seed=99, noise=row.latents[None]))
    assert np.array_equal(given, pipeline.generate(REQUEST))


def test_a_latent_that_became_nan_is_reported_with_its_row(pipeline: Pipeline) -> None:
    row = pipeline.begin(replace(REQUEST, num_images=2))[1]
    row.latents = row.latents * float("nan")
    with pytest.raises(NonFinite, match="image 1"):
        pipeline.finish(row)


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"width": 33}, "width", "multiple of 8, got 33"),
        ({"height": 72}, "height", "32 to 64 pixels, got 72"),
        ({"seed": -1}, "seed", "got -1"),
        ({"num_images": 0}, "num_images", "at least 1, got 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale", "0 to 50, got nan"),
        ({"sampler": "magic"}, "sampler", "ddim, ddpm, dpmpp_2m, got 'magic'"),
        ({"num_steps": 1001}, "sampler", "1 to 1000, got 1001"),
        ({"sampler": "ddpm", "eta": 0.5}, "sampler", "eta"),
        ({"noise": torch.zeros(1, 4, 3, 3)}, "noise", "shape"),
    ],
)
def test_what_cannot_be_done_names_the_field_the_value_and_what_is_allowed(
    pipeline: Pipeline, changes: dict[str, object], field: str, allowed: str
) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        pipeline.begin(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert error.value.field == field


def test_a_row_that_is_done_and_rows_of_two_shapes_are_refused(pipeline: Pipeline) -> None:
    row = pipeline.begin(replace(REQUEST, num_steps=1))[0]
    pipeline.step([row])
    with pytest.raises(ValueError, match="all their steps"):
        pipeline.step([row])
    with pytest.raises(ValueError, match="one latent shape"):
        pipeline.step([pipeline.begin(REQUEST)[0], pipeline.begin(replace(REQUEST, width=64))[0]])
