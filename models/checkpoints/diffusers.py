"""A diffusers folder: one sub-folder a component, config.json and safetensors in each, model_index.json above.

model_index.json  darkroom.json (ours: what the model says about itself; other folders have none)
scheduler/ text_encoder/ tokenizer/ unet/ vae/  low_res_scheduler/ (upscalers)
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from models.checkpoints import card_file
from models.checkpoints.components import load_autoencoder, load_text_encoder, load_unet
from models.checkpoints.diffusers_scheduler import read_low_res, read_sampler, read_schedule
from models.checkpoints.json_fields import choice, read_json
from models.errors import CheckpointError
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise, Pipeline

log = logging.getLogger(__name__)


# What these pipelines name, we can build; others have further networks, or other ones.
PIPELINES = (
    "LatentConsistencyModelPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionUpscalePipeline",
)


def load_folder(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """A pipeline from a diffusers folder.

    Raises: CheckpointError saying which file, and what is wrong with it.
    """
    read_index(folder)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    schedule, options = read_schedule(scheduler)
    sampler = read_sampler(scheduler)
    unet = load_unet(folder / "unet", device=device, dtype=dtype)
    autoencoder = load_autoencoder(folder / "vae", device=device, dtype=dtype)
    text_encoder = load_text_encoder(folder / "text_encoder", folder / "tokenizer", device=device, dtype=dtype)
    low_res = read_low_res(folder)
    check_fit(unet, autoencoder, text_encoder, low_res)
    card = card_file.read(folder)
    if card is None:
        card = card_file.plain_card(folder, unet, autoencoder, text_encoder, sampler=sampler.name)
        if sampler.note is not None:
            log.warning("%s: %s", folder.name, sampler.note)
    return Pipeline(
        unet=unet,
        autoencoder=autoencoder,
        text_encoder=text_encoder,
        schedule=schedule,
        sampler_options=options,
        card=card,
        latent_to_rgb=card_file.read_preview(folder),
        low_res=low_res,
    )


def read_index(folder: Path) -> dict[str, object]:
    """What model_index.json holds. Raises: CheckpointError if there is none, or for a pipeline that is not built."""
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"{folder} is not a diffusers folder: it has no model_index.json")
    index = read_json(folder / "model_index.json")
    choice(index, "_class_name", None, PIPELINES)
    return index


def check_fit(
    unet: UNet, autoencoder: Autoencoder, text_encoder: TextEncoder, low_res: LowResNoise | None = None
) -> None:
    """Raises: CheckpointError unless the networks are of one model."""
    latent, text_width = autoencoder.config.latent_channels, text_encoder.config.width
    if unet.config.cross_attention_dim != text_width:
        raise CheckpointError(
            f"the UNet listens to text {unet.config.cross_attention_dim} wide, the text encoder says {text_width}"
        )
    if unet.config.out_channels != latent:
        raise CheckpointError(
            f"the UNet predicts {unet.config.out_channels} channels, the autoencoder's latents have {latent}"
        )
    levels = unet.config.num_class_embeds
    if low_res is not None and levels is not None and low_res.max_level >= levels:
        raise CheckpointError(
            f"max_noise_level must be below {levels}, what the UNet tells apart, got {low_res.max_level}"
        )
