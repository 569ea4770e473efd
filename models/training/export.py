"""From trained networks to a pipeline, and to the diffusers folder that ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from models.card import ModelCard
from models.checkpoints.card_file import PAINTING
from models.checkpoints.writing import save_folder
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise, Pipeline
from models.preview import fit_latent_to_rgb
from models.sampling import SamplerOptions
from models.schedule import Schedule, Spacing
from models.training.batches import Batch
from models.training.sources import Source

# The cosine schedule ends near zero signal, where leading steps at 25 of 1000 would never look.
SPACING: Spacing = "trailing"
# Karras' levels make no sense on it either, and the samplers that need a finite last sigma are not offered.
SAMPLERS = ("ddim", "ddpm")


def assemble(
    unet: UNet,
    autoencoder: Autoencoder,
    text_encoder: TextEncoder,
    schedule: Schedule,
    name: str,
    *,
    native_size: int,
    source: Source | None = None,
) -> Pipeline:
    """A pipeline of networks that were just trained; it knows the words of the source, if any."""
    return Pipeline(
        unet=unet.eval(),
        autoencoder=autoencoder.eval(),
        text_encoder=text_encoder.eval(),
        schedule=schedule,
        # trailing has no use for an offset, and diffusers warns of any other than 1
        sampler_options=SamplerOptions(spacing=SPACING, steps_offset=1),
        card=ModelCard(
            name=name,
            revision="unsaved",
            tasks=PAINTING,
            native_width=native_size,
            native_height=native_size,
            min_side=native_size,
            max_side=2 * native_size,
            multiple=autoencoder.config.factor * 2 ** (len(unet.config.channels) - 1),
            samplers=SAMPLERS,
            default_steps=25,
            default_guidance_scale=4.0,
            default_sampler="ddim",
            parameters=sum(part.numel() for net in (unet, autoencoder, text_encoder) for part in net.parameters()),
            licence="MIT",
            vocabulary={} if source is None else source.vocabulary(),
            examples=() if source is None else source.examples(),
        ),
    )


def assemble_upscaler(
    unet: UNet,
    autoencoder: Autoencoder,
    text_encoder: TextEncoder,
    schedule: Schedule,
    name: str,
    *,
    native_size: int,
    low_res: LowResNoise,
) -> Pipeline:
    """A pipeline that enlarges, of networks that were just trained."""
    pipeline = assemble(unet, autoencoder, text_encoder, schedule, name, native_size=native_size)
    pipeline.low_res = low_res
    pipeline.card = replace(
        pipeline.card,
        tasks=("super_resolution",),
        min_side=pipeline.card.multiple,
        max_side=4 * native_size,
        default_steps=4,
        default_guidance_scale=1.0,
    )
    return pipeline


@torch.no_grad()
def export(pipeline: Pipeline, pictures: Batch, folder: Path) -> None:
    """Writes the pipeline as a diffusers folder in float16, with a preview map fitted on pictures like its own."""
    images = pictures.images.to(pipeline.device)
    pipeline.latent_to_rgb = fit_latent_to_rgb(pipeline.autoencoder, pipeline.autoencoder.encode(images))
    save_folder(pipeline, folder, dtype=torch.float16)
