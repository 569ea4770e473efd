"""Image to image: sizes of any kind, strengths, company in a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import ImageToImage, Pipeline, RequestError, TextToImage
from models.guidance import Guidance
from models.process import add_noise
from tests.models.conftest import small_pipeline

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
REQUEST = ImageToImage(prompt="a fox", image=PICTURE, strength=0.5, num_steps=4, guidance_scale=3.0)


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 5)])
def test_any_size_comes_back_as_it_was(pipeline: Pipeline, size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    assert pipeline.generate(replace(REQUEST, image=picture)).shape == (1, *size, 3)


def test_it_starts_from_the_picture_noised_to_the_first_level(pipeline: Pipeline) -> None:
    row = pipeline.begin(REQUEST)[0]
    x0 = pipeline.encode_image(torch.from_numpy(PICTURE).permute(2, 0, 1)[None] / 127.5 - 1)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert row.num_steps == 2
    torch.testing.assert_close(row.latents, add_noise(x0, noise, row.plan.levels[0]))
    given = pipeline.begin(replace(REQUEST, image=None, latents=x0))[0]
    torch.testing.assert_close(given.latents, row.latents)


def test_it_shares_a_step_with_text_to_image_and_both_come_out_as_alone(pipeline: Pipeline) -> None:
    requests = [REQUEST, TextToImage(prompt="a big owl", num_steps=3, sampler="ddpm", guidance_scale=1.0)]
    alone = []
    for request in requests:
        (row,) = pipeline.begin(request)  # type: ignore[arg-type]
        while not row.is_done:
            pipeline.step([row])
        alone.append(row.latents)
    rows = [pipeline.begin(request)[0] for request in requests]  # type: ignore[arg-type]
    assert rows[0].bucket == rows[1].bucket
    while unfinished := [row for row in rows if not row.is_done]:
        pipeline.step(unfinished)
    for row, expected in zip(rows, alone, strict=True):
        torch.testing.assert_close(row.latents, expected, rtol=1e-4, atol=1e-4)


def test_an_inpainting_network_is_told_that_nothing_is_given() -> None:
    pipeline = small_pipeline(in_channels=9)
    extra = pipeline.begin(REQUEST)[0].extra
    assert extra is not None
    assert torch.equal(extra[0], torch.ones(8, 8))


def test_guidance_holds_only_in_its_interval_and_costs_nothing_outside(pipeline: Pipeline) -> None:
    seen: list[int] = []
    pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    pipeline.generate(replace(REQUEST, strength=1.0, guidance_interval=(0.25, 0.75)))
    assert seen == [1, 2, 2, 1]
    assert pipeline.begin(replace(REQUEST, guidance_interval=(0.5, 0.5)))[0].uncond is None


def test_a_row_without_negative_text_cannot_be_guided(pipeline: Pipeline) -> None:
    (row,) = pipeline.begin(replace(REQUEST, guidance_scale=1.0))
    row.guidance = Guidance(2.0)
    with pytest.raises(ValueError, match="guided away from"):
        pipeline.step([row])


def test_weights_in_a_prompt_count_only_where_they_are_asked_for(pipeline: Pipeline) -> None:
    plain = pipeline.begin(replace(REQUEST, prompt="a fox"))[0].cond
    assert torch.equal(pipeline.begin(replace(REQUEST, prompt="a fox", prompt_syntax="weighted"))[0].cond, plain)
    weighted = pipeline.begin(replace(REQUEST, prompt="a (fox:1.4)", prompt_syntax="weighted"))[0]
    assert weighted.cond.shape == plain.shape
    assert not torch.allclose(weighted.cond, plain)


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"strength": 0.0}, "strength", "above 0"),
        ({"strength": float("nan")}, "strength", "above 0"),
        ({"image": None}, "image", "one of the two"),
        ({"latents": torch.zeros(4, 8, 8)}, "image", "one of the two"),
        ({"image": None, "latents": torch.zeros(3, 8, 8)}, "latents", "4, height, width"),
        ({"image": np.zeros((65, 3, 3), np.uint8)}, "image", "at most 64"),
        ({"num_steps": 0}, "sampler", "1 to 1000"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval", "0.5 to 0.2"),
        ({"prompt_syntax": "compel"}, "prompt_syntax", "plain, weighted"),
        ({"prompt": "(a:999)", "prompt_syntax": "weighted"}, "prompt", "-100 to 100"),
        ({"negative_prompt": "(a:999)", "prompt_syntax": "weighted"}, "negative_prompt", "-100 to 100"),
    ],
)
def test_what_cannot_be_done_names_the_field(
    pipeline: Pipeline, changes: dict[str, object], field: str, allowed: str
) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        pipeline.begin(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert error.value.field == field


def test_an_upscaler_is_not_for_this() -> None:
    pipeline = small_pipeline(in_channels=7, num_class_embeds=1000)
    with pytest.raises(RequestError, match="7 channels"):
        pipeline.begin(REQUEST)
