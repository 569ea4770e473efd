"""Folders that diffusers wrote compute here what they compute there: every network, and whole pictures."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models import TextToImage, load_pipeline
from models.checkpoints.diffusers_scheduler import read_low_res
from models.process import add_noise
from tests.models.checkpoints.miniatures import CONTEXT, KINDS
from tests.models.conftest import TEXT_WIDTH

CPU, FLOAT32 = torch.device("cpu"), torch.float32
TOLERANCE = 1e-5
PROMPT, NEGATIVE_PROMPT = "a fox in the snow!", "a red apple, at night"
SCHEDULERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "ddim": (DDIMScheduler, ("leading", "trailing")),
    "ddpm": (DDPMScheduler, ("leading", "trailing")),
    "euler": (EulerDiscreteScheduler, ("leading", "trailing", "linspace")),
    "dpmpp_2m": (DPMSolverMultistepScheduler, ("leading", "trailing", "linspace")),
}


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The greatest difference, as a share of the greatest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_network_agrees_with_diffusers(written: dict[str, Path], kind: str, record_property: Any) -> None:
    folder = written[kind]
    ours = load_pipeline(folder)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae").eval()
    text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").eval()
    words = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")

    x, timesteps = torch.randn(2, unet.config.in_channels, 8, 12), torch.tensor([3, 981])
    text = torch.randn(2, 7, TEXT_WIDTH)
    labels = torch.tensor([20, 350]) if kind == "upscaler" else None
    images, latents = torch.rand(1, 3, 32, 64) * 2 - 1, torch.randn(1, 4, 8, 8)
    padded = words([PROMPT, ""], padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")[
        "input_ids"
    ]

    assert torch.equal(ours.text_encoder.tokenize([PROMPT, ""])[:, 0], padded)
    assert vae.config.scaling_factor == (0.08333 if kind == "upscaler" else 0.18215)
    errors = {
        "unet": relative(ours.unet(x, timesteps, text, labels), unet(x, timesteps, text, class_labels=labels).sample),
        "encoder": relative(
            ours.autoencoder.encode(images), vae.encode(images).latent_dist.mean * vae.config.scaling_factor
        ),
        "decoder": relative(ours.autoencoder.decode(latents), vae.decode(latents / vae.config.scaling_factor).sample),
        "text": relative(ours.text_encoder.encode([PROMPT, ""]), text_encoder(padded).last_hidden_state),
    }
    record_property("errors", errors)
    assert max(errors.values()) <= TOLERANCE, errors


# Twenty steps only on each sampler's first spacing: the spacings differ in where steps lie, not in how they go.
CASES = [
    ("sd1", sampler, spacing, steps, scale)
    for sampler, (_, spacings) in SCHEDULERS.items()
    for spacing in spacings
    for steps, scale in ((5, 1.0), (5, 7.5), (20, 7.5))
    if steps == 5 or spacing == spacings[0]
] + [("sd2", sampler, None, steps, scale) for sampler in SCHEDULERS for steps, scale in ((5, 7.5), (20, 1.0))]


@pytest.fixture(scope="module")
def pairs(written: dict[str, Path]) -> dict[str, tuple[Any, Any]]:
    """Our pipeline and diffusers' of the same folder."""
    return {
        kind: (load_pipeline(written[kind]), StableDiffusionPipeline.from_pretrained(written[kind]))
        for kind in ("sd1", "sd2")
    }


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("kind", "sampler", "spacing", "steps", "scale"), CASES)
def test_pictures_agree_with_diffusers(
    pairs: dict[str, tuple[Any, Any]],
    kind: str,
    sampler: str,
    spacing: Any,
    steps: int,
    scale: float,
    record_property: Any,
) -> None:
    ours, theirs = pairs[kind]
    if spacing is None:  # as the folder says
        changes: dict[str, Any] = {}
    else:
        ours.sampler_options = replace(ours.sampler_options, spacing=spacing)
        changes = {"timestep_spacing": spacing}
    if sampler.startswith("dd"):
        changes["clip_sample"] = False  # as Stable Diffusion's own pipeline would correct it, with a warning
    scheduler = SCHEDULERS[sampler][0].from_config(theirs.scheduler.config, **changes)
    oracle = StableDiffusionPipeline(**(theirs.components | {"scheduler": scheduler}), requires_safety_checker=False)
    oracle.set_progress_bar_config(disable=True)
    expected = oracle(
        PROMPT,
        negative_prompt=NEGATIVE_PROMPT,
        num_inference_steps=steps,
        guidance_scale=scale,
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).images[0]
    picture = ours.generate(
        TextToImage(
            prompt=PROMPT,
            negative_prompt=NEGATIVE_PROMPT,
            seed=42,
            num_steps=steps,
            guidance_scale=scale,
            sampler=sampler,
        )
    )[0]
    assert picture.std() > 5, "an even grey proves nothing"
    error = float(np.abs(expected * 255 - picture).max())
    record_property("errors", {f"{kind} {sampler}": error})
    assert error <= 1.0


def test_an_upscalers_folder_says_how_its_small_picture_is_noised(written: dict[str, Path]) -> None:
    low_res = read_low_res(written["upscaler"])
    assert low_res is not None
    assert low_res.max_level == 350
    oracle = DDPMScheduler.from_pretrained(written["upscaler"], subfolder="low_res_scheduler")
    small, noise, level = torch.rand(1, 3, 8, 8), torch.randn(1, 3, 8, 8), torch.tensor([20])
    expected = oracle.add_noise(small, noise, level)
    levels = low_res.schedule.alpha_bar[level].view(-1, 1, 1, 1)
    assert relative(add_noise(small, noise, levels).float(), expected) <= TOLERANCE
    assert read_low_res(written["sd1"]) is None
    assert load_pipeline(written["upscaler"]).card.tasks == ("super_resolution",)


def test_pndm_is_replaced_by_ddim_and_the_log_says_so(
    written: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        card = load_pipeline(written["sd1"]).card
    assert card.default_sampler == "ddim"
    assert "its scheduler is PNDMScheduler; ddim with its spacing is used" in caplog.text
    caplog.clear()
    load_pipeline(written["sd2"])
    assert caplog.text == ""
