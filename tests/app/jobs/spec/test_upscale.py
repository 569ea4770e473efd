"""A picture that is made larger in the same job: what that is told as, what it costs, and what is refused."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.failures import SpecError
from app.jobs.spec import TextToImage, TextToImageParams, Upscaler, cost, read_params, resolve, steps_in_all
from tests.app.jobs.spec.test_text_to_image import ENTRY, WISH

UPSCALER = ENTRY.model_copy(
    update={
        "name": "storybook-x4",
        "tasks": ["super_resolution"],
        "scale": 4,
        "defaults": ModelDefaults(steps=9, guidance_scale=1.5, sampler="ddpm"),
    }
)


def resolved(upscaler: CatalogueEntry | None = UPSCALER, **fields: Any) -> TextToImageParams:
    params = resolve(TextToImage.model_validate(WISH | fields), ENTRY, 7, upscaler=upscaler)
    assert isinstance(params, TextToImageParams)
    return params


@pytest.mark.parametrize("upscale", [2, 4])
def test_the_row_says_which_model_makes_it_larger_and_how(upscale: int) -> None:
    params = resolved(upscale=upscale)
    assert params.upscaler == Upscaler(model="storybook-x4", steps=9, guidance_scale=1.5, sampler="ddpm")
    assert (params.width, params.height, params.second_model) == (128, 96, "storybook-x4")
    assert read_params(json.loads(params.model_dump_json())) == params


def test_progress_and_cost_are_summed_over_both_stages() -> None:
    params = resolved(upscale=2, steps=5, num_images=3)
    assert steps_in_all(params) == 3 * (5 + 9)
    assert cost(params) == 3 * 128 * 96 * (5 + 2 * 2 * 9)
    assert steps_in_all(resolved(steps=5, num_images=3)) == 3 * 5


def test_a_picture_that_is_not_made_larger_needs_no_second_model() -> None:
    for params in (resolved(), resolved(None, upscale=1)):
        assert (params.upscale, params.upscaler, params.second_model) == (1, None, None)


@pytest.mark.parametrize("upscale", [0, 3, 8, "2", 2.5, None])
def test_there_are_three_scales(upscale: Any) -> None:
    with pytest.raises(ValidationError):
        TextToImage.model_validate(WISH | {"upscale": upscale})


@pytest.mark.parametrize(
    ("upscaler", "fields", "why"),
    [
        (None, {}, "upscale must be 1, since no model here makes pictures larger"),
        (UPSCALER.model_copy(update={"scale": 2}), {}, "upscale must be 1 or 2, which is what storybook-x4 offers"),
        (UPSCALER, {"width": 2048, "height": 2048}, "upscale must not make more than 16777216 pixels of the picture"),
    ],
)
def test_what_cannot_be_made_larger_is_refused_and_why(
    upscaler: CatalogueEntry | None, fields: dict[str, int], why: str
) -> None:
    large = ENTRY.model_copy(update={"max_side": 4096})
    with pytest.raises(SpecError, match=why):
        resolve(TextToImage.model_validate(WISH | {"upscale": 4} | fields), large, 7, upscaler=upscaler)


def test_a_row_that_is_made_larger_by_nobody_is_refused() -> None:
    row = resolved(upscale=2).model_dump()
    for wrong in ({"upscaler": None}, {"upscale": 1}):
        with pytest.raises(ValidationError, match="if and only if"):
            read_params(row | wrong)
