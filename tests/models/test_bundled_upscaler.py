"""The upscaler that ships: within its limits, loadable by diffusers, nearer to the truth than a bicubic filter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionUpscalePipeline

from models import Pipeline, SuperResolution, TextToImage, bundled_models, load_pipeline
from models.evaluation.super_resolution import judge_super_resolution
from models.training.details import draw_detail
from models.training.stages import STAGES

FOLDER = Path("models/bundled/storybook-x4")
MIB = 1 << 20


@pytest.fixture(scope="module")
def upscaler() -> Pipeline:
    return load_pipeline("storybook-x4")


def test_it_is_bundled_within_its_limits() -> None:
    assert "storybook-x4" in bundled_models()
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) <= 16 * MIB
    everything = [path.stat().st_size for path in FOLDER.parent.rglob("*") if path.is_file()]
    assert sum(everything) <= 48 * MIB


@pytest.mark.slow
@pytest.mark.parametrize(("share", "better_by"), [(0.0, 2.0), (1.0, 0.0)], ids=["scenes", "textures"])
def test_it_comes_nearer_to_the_truth_than_a_filter(upscaler: Pipeline, share: float, better_by: float) -> None:
    stage = STAGES["c"]
    squares = [draw_detail(seed, stage, 64, "held_out", texture_share=share)[0] for seed in range(100, 140)]
    judged = judge_super_resolution(upscaler, np.stack(squares), report=lambda _: None)
    assert judged["model"].psnr > judged["bicubic"].psnr + better_by
    assert judged["model, consistent"].consistency <= 1.0


def test_diffusers_enlarges_to_the_same_picture_with_it(upscaler: Pipeline) -> None:
    oracle = StableDiffusionUpscalePipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)
    image = draw_detail(3, STAGES["c"], 32, "held_out", texture_share=0.0)[0]
    theirs = oracle(
        "",
        image=torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1.0,
        noise_level=20,
        num_inference_steps=4,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).images[0]
    request = SuperResolution(image=image, num_steps=4, guidance_scale=1.0, seed=42, keep_colours=False)
    assert np.abs(theirs * 255 - upscaler.generate(request)[0]).max() <= 1.0


def test_it_enlarges_what_storybook_draws(upscaler: Pipeline) -> None:
    storybook = load_pipeline("storybook", upscaler="storybook-x4")
    request = {"prompt": "a fox in the snow", "seed": 7, "num_steps": 2}
    large = storybook.generate(TextToImage(**request, upscale=4))
    assert large.shape == (1, 256, 256, 3)
    small = storybook.generate(TextToImage(**request))[0]
    expected = upscaler.generate(SuperResolution(image=small, prompt=request["prompt"], seed=7))
    assert np.abs(large.astype(int) - expected).max() <= 1
