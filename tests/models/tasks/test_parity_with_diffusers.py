"""The image tasks against diffusers' pipelines: one folder of random weights, read by both, the same noise.

diffusers draws from the autoencoder's posterior; here its variance is made to vanish, so a draw is the mean.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionUpscalePipeline,
)

from models import ImageToImage, Inpaint, SuperResolution, load_pipeline
from models.checkpoints.writing import save_folder
from models.schedule import cosine_schedule
from tests.models.conftest import small_pipeline

WORDS: dict[str, Any] = {"prompt": "a fox in the snow", "negative_prompt": "a red apple"}


def folder_of(path: Path, **changes: Any) -> Path:
    """A saved pipeline whose posterior is a point."""
    pipeline = small_pipeline(**changes)
    pipeline.schedule = cosine_schedule(prediction="v")
    quant_conv, latent = pipeline.autoencoder.quant_conv, pipeline.autoencoder.config.latent_channels
    assert quant_conv is not None
    quant_conv.weight[latent:] = 0.0
    assert quant_conv.bias is not None
    quant_conv.bias[latent:] = -100.0
    # diffusers takes the usual factor of an upscaler for a mistake
    factor = 0.08333 if pipeline.low_res is not None else 0.18215
    pipeline.autoencoder.config = replace(pipeline.autoencoder.config, scaling_factor=factor)
    save_folder(pipeline, path, dtype=torch.float32)
    return path


def parts(folder: Path) -> dict[str, Any]:
    """The networks as diffusers reads them."""
    whole = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None)
    whole.set_progress_bar_config(disable=True)
    return {name: part for name, part in whole.components.items() if name in ("vae", "unet", "text_encoder")} | {
        "tokenizer": whole.tokenizer,
        "scheduler": whole.scheduler,
    }


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a pixel, in steps of 1 / 255; ours is rounded, so half a step is rounding."""
    return float(np.abs(theirs * 255.0 - ours).max())


@pytest.mark.parametrize(("num_steps", "strength", "scale"), [(5, 0.6, 1.0), (5, 1.0, 7.5), (20, 0.5, 7.5)])
def test_image_to_image(tmp_path: Path, num_steps: int, strength: float, scale: float, record_property: Any) -> None:
    folder = folder_of(tmp_path / "small")
    pipeline = load_pipeline(folder)
    latents = torch.randn(4, 8, 8)
    request = ImageToImage(
        **WORDS, latents=latents, strength=strength, num_steps=num_steps, guidance_scale=scale, seed=42
    )
    theirs = StableDiffusionImg2ImgPipeline(
        **parts(folder), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    picture = theirs(
        **WORDS,
        image=latents[None],
        strength=strength,
        num_inference_steps=num_steps,
        guidance_scale=scale,
        generator=seeded(42),
        output_type="np",
    ).images[0]
    error = worst(pipeline.generate(request)[0], picture)
    record_property("error", error)
    assert error <= 1.0


@pytest.mark.parametrize(
    ("channels", "num_steps", "strength", "scale"),
    [(9, 5, 1.0, 1.0), (9, 20, 1.0, 7.5), (9, 5, 0.6, 7.5), (4, 5, 1.0, 7.5)],
)
def test_inpaint(
    tmp_path: Path, channels: int, num_steps: int, strength: float, scale: float, record_property: Any
) -> None:
    folder = folder_of(tmp_path / "small", in_channels=channels)
    pipeline = load_pipeline(folder)
    image = torch.rand(32, 32, 3) * 2 - 1
    mask = torch.zeros(32, 32)
    mask[8:24, 12:28] = 1.0  # whole cells: diffusers reduces masks by nearest
    noise = torch.randn(2, 4, 8, 8, generator=seeded(42))  # what diffusers draws: for the posterior, for the start
    given = {"image": image, "mask": mask, "noise": noise[1:], "blend": False}  # diffusers leaves the seam
    request = Inpaint(**WORDS, **given, strength=strength, num_steps=num_steps, guidance_scale=scale)
    theirs = StableDiffusionInpaintPipeline(
        **parts(folder), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    picture = theirs(
        **WORDS,
        image=(image.permute(2, 0, 1)[None]),
        mask_image=mask[None, None],
        height=32,
        width=32,
        strength=strength,
        num_inference_steps=num_steps,
        guidance_scale=scale,
        # at full strength it draws no posterior first
        latents=noise[1:] if strength == 1.0 else None,
        generator=seeded(42),
        output_type="np",
    ).images[0]
    ours = pipeline.generate(request)[0]
    hole = mask.bool().numpy()
    error = worst(ours[hole], picture[hole])
    record_property("error", error)
    assert error <= 1.0


@pytest.mark.parametrize(("num_steps", "scale"), [(5, 1.0), (20, 7.5)])
def test_super_resolution(tmp_path: Path, num_steps: int, scale: float, record_property: Any) -> None:
    folder = folder_of(tmp_path / "small", in_channels=7, num_class_embeds=1000)
    theirs = StableDiffusionUpscalePipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    pipeline = load_pipeline(folder)
    assert pipeline.low_res is not None
    assert pipeline.low_res.max_level == 350
    image = torch.rand(8, 8, 3) * 2 - 1
    given = {"image": image, "noise_level": 30, "keep_colours": False}  # diffusers lets colours drift
    request = SuperResolution(**WORDS, **given, num_steps=num_steps, guidance_scale=scale, seed=42)
    picture = theirs(
        **WORDS,
        image=image.permute(2, 0, 1)[None],
        noise_level=30,
        num_inference_steps=num_steps,
        guidance_scale=scale,
        generator=seeded(42),
        output_type="np",
    ).images[0]
    error = worst(pipeline.generate(request)[0], picture)
    record_property("error", error)
    assert error <= 1.0
