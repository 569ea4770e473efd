"""Models that were never trained: real networks of the smallest size, for tests that care how and not what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models import ModelCard, Pipeline
from models.checkpoints.writing import save_folder
from models.config import AutoencoderConfig, TextEncoderConfig, UNetConfig
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise
from models.sampling import SamplerOptions
from models.schedule import cosine_schedule
from models.training.tokenizer import train_tokenizer

SIDE = 64
CONTEXT_LENGTH = 16
TEXT_WIDTH = 16


def save_tiny_model(folder: Path) -> None:
    """Write a model that paints as a diffusers folder; its name is the folder's."""
    save_folder(_pipeline(folder.name), folder, dtype=torch.float32)


def save_tiny_enlarger(folder: Path) -> None:
    """Write a model that makes pictures four times as large as a diffusers folder; its name is the folder's."""
    pipeline = _pipeline(folder.name, in_channels=7, num_class_embeds=1000)
    pipeline.card = replace(pipeline.card, tasks=("super_resolution",), default_steps=2, default_guidance_scale=1.0)
    pipeline.low_res = LowResNoise(cosine_schedule(), 350)
    save_folder(pipeline, folder, dtype=torch.float32)


def _pipeline(name: str, **unet: Any) -> Pipeline:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red ball"], max_merges=8, context_length=CONTEXT_LENGTH)
    text_config = TextEncoderConfig(len(tokenizer), TEXT_WIDTH, layers=1, heads=1, context_length=CONTEXT_LENGTH)
    unet_config = UNetConfig(
        **{
            "in_channels": 4,
            "out_channels": 4,
            "channels": (16, 16),
            "attention": (False, True),
            "heads": (1, 1),
            "cross_attention_dim": TEXT_WIDTH,
            "layers_per_block": 1,
            "norm_groups": 8,
        }
        | unet
    )
    autoencoder_config = AutoencoderConfig(
        channels=(8, 8, 8), layers_per_block=1, norm_groups=8, mid_attention=False, scaling_factor=1.0
    )
    return Pipeline(
        unet=UNet(unet_config).eval(),
        autoencoder=Autoencoder(autoencoder_config).eval(),
        text_encoder=TextEncoder(text_config, tokenizer).eval(),
        schedule=cosine_schedule(),
        sampler_options=SamplerOptions(spacing="trailing"),
        card=ModelCard(
            name=name,
            revision="unsaved",
            tasks=("text_to_image", "image_to_image", "inpaint"),
            native_width=SIDE,
            native_height=SIDE,
            min_side=SIDE,
            max_side=2 * SIDE,
            multiple=8,
            samplers=("ddim", "ddpm"),
            default_steps=10,
            default_guidance_scale=2.0,
            default_sampler="ddim",
            parameters=0,
            licence="MIT",
            examples=("a red ball",),
        ),
    )
