"""What the tests of the library share: untrained networks small enough to build in a moment."""

from collections.abc import Iterator

import pytest
import torch

from models import ModelCard, Pipeline
from models.config import AutoencoderConfig, TextEncoderConfig, UNetConfig
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise
from models.sampling import SamplerOptions
from models.schedule import linear_schedule, scaled_linear_schedule
from models.training.tokenizer import train_tokenizer

CAPTIONS = ["a fox in the snow", "a big owl at night", "a red apple on the left"]
TEXT_WIDTH = 32


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Random weights and inputs are the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small_unet(**changes: object) -> UNetConfig:
    """A UNet in the layout of Stable Diffusion 1, with its widths divided by ten."""
    values: dict[str, object] = {
        "in_channels": 4,
        "out_channels": 4,
        "channels": (32, 64),
        "attention": (True, False),
        "heads": (2, 2),
        "cross_attention_dim": TEXT_WIDTH,
        "norm_groups": 16,
    }
    return UNetConfig(**(values | changes))  # type: ignore[arg-type]


def small_pipeline(*, in_channels: int = 4, num_class_embeds: int | None = None) -> Pipeline:
    """A whole pipeline with random weights: 32 px, f = 4. With 7 channels and class embeddings, an upscaler."""
    tokenizer = train_tokenizer(CAPTIONS, max_merges=50, context_length=16)
    text = TextEncoderConfig(
        vocab_size=len(tokenizer.get_vocab()), width=TEXT_WIDTH, layers=2, heads=2, context_length=16
    )
    pipeline = Pipeline(
        unet=UNet(small_unet(in_channels=in_channels, num_class_embeds=num_class_embeds)).eval(),
        autoencoder=Autoencoder(AutoencoderConfig(channels=(16, 16, 32), layers_per_block=1, norm_groups=8)).eval(),
        text_encoder=TextEncoder(text, tokenizer).eval(),
        schedule=scaled_linear_schedule(),
        sampler_options=SamplerOptions(spacing="trailing"),
        card=ModelCard(
            name="small",
            revision="unsaved",
            tasks=("text_to_image",),
            native_width=32,
            native_height=32,
            min_side=32,
            max_side=64,
            multiple=8,
            samplers=("ddim", "ddpm", "dpmpp_2m"),
            default_steps=5,
            default_guidance_scale=3.0,
            default_sampler="ddim",
            parameters=0,
        ),
        low_res=LowResNoise(linear_schedule(), 350) if num_class_embeds else None,
    )
    for network in (pipeline.unet, pipeline.autoencoder, pipeline.text_encoder):
        network.requires_grad_(False)
    return pipeline


@pytest.fixture
def pipeline() -> Pipeline:
    return small_pipeline()
