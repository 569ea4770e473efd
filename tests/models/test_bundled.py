"""The model that ships: it loads strictly, diffusers draws the same pictures with it, and it knows its words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline

from models import Pipeline, TextToImage, bundled_models, load_pipeline
from models.evaluation.prompt_following import Judge, captioned
from models.training.stages import STAGES

FOLDER = Path("models/bundled/storybook")
MIB = 1 << 20


@pytest.fixture(scope="module")
def storybook() -> Pipeline:
    return load_pipeline("storybook")


def test_it_is_bundled_within_its_limits() -> None:
    assert "storybook" in bundled_models()
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) <= 16 * MIB
    assert sum(sizes) <= 24 * MIB
    assert not [path for path in FOLDER.rglob("*") if path.suffix in (".bin", ".ckpt", ".pt", ".pth")]


def test_its_card_tells_what_it_knows(storybook: Pipeline) -> None:
    card = storybook.card
    assert set(card.vocabulary["objects"]) <= {thing.name for thing in STAGES["a"].things}
    assert card.parameters == sum(
        parameter.numel()
        for network in (storybook.unet, storybook.autoencoder, storybook.text_encoder)
        for parameter in network.parameters()
    )
    assert len(card.examples) >= 4
    assert storybook.latent_to_rgb is not None


def test_it_draws_what_the_prompt_says_far_more_often_than_chance(storybook: Pipeline) -> None:
    offered = storybook.card.vocabulary["objects"]
    scenes = [scene for scene in captioned(STAGES["a"], "train", 60) if scene.items[0].thing.name in offered][:8]
    assert len(scenes) == 8
    pictures = np.stack(
        [storybook.generate(TextToImage(prompt=scene.caption, seed=seed))[0] for seed, scene in enumerate(scenes)]
    )
    verdict = Judge(STAGES["a"], 64).verdict(pictures, scenes)
    assert verdict.thing.hits >= 6  # the card says 28 of 30; chance names one in twelve
    assert verdict.backdrop.hits >= 7


def test_diffusers_draws_the_same_picture_with_it(storybook: Pipeline) -> None:
    oracle = StableDiffusionInpaintPipeline.from_pretrained(FOLDER, safety_checker=None, torch_dtype=torch.float32)
    grey = storybook.autoencoder.encode(torch.zeros(1, 3, 64, 64))
    theirs = oracle(
        "a fox in the snow",
        image=torch.zeros(1, 3, 64, 64),
        mask_image=torch.ones(1, 1, 64, 64),
        masked_image_latents=grey,
        height=64,
        width=64,
        num_inference_steps=20,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).images[0]
    request = TextToImage(prompt="a fox in the snow", seed=42, num_steps=20, guidance_scale=4.0)
    ours = storybook.generate(request)[0]
    assert np.abs(theirs * 255 - ours).max() <= 1.0


def test_its_files_name_no_code_to_run() -> None:
    for path in FOLDER.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert "auto_map" not in text, path
        json.loads(text)
