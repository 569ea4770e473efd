"""A pipeline as a diffusers folder; `models.checkpoints.diffusers` says what lies in one, and reads it."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import torch

from models.checkpoints import card_file
from models.checkpoints.components import TEXT_STEM, UNET_STEM
from models.checkpoints.diffusers_config import write_autoencoder, write_unet
from models.checkpoints.diffusers_scheduler import write_low_res, write_schedule
from models.checkpoints.saving import save_weights, write_json
from models.networks.autoencoder import Autoencoder
from models.pipeline import Pipeline

# The version whose layout this is.
_DIFFUSERS = "0.42.1"


def save_folder(pipeline: Pipeline, folder: Path, *, dtype: torch.dtype) -> None:
    """Writes a pipeline as a diffusers folder with a darkroom.json; diffusers itself can load it."""
    card, unet, text = pipeline.card, pipeline.unet, pipeline.text_encoder.transformer
    for name in ("unet", "text_encoder", "scheduler"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    save_autoencoder(pipeline.autoencoder, folder / "vae", size=card.native_width, dtype=dtype)
    sample_size = card.native_width // pipeline.autoencoder.config.factor
    write_json(folder / "unet" / "config.json", write_unet(unet.config, sample_size))
    save_weights(unet, folder / "unet", UNET_STEM, dtype)
    described = text.config.to_diff_dict() | {"architectures": ["CLIPTextModel"]}
    write_json(folder / "text_encoder" / "config.json", described)
    save_weights(text, folder / "text_encoder", TEXT_STEM, dtype)
    tokenizer = copy(pipeline.text_encoder.tokenizer)
    # diffusers pads to it; a tokenizer that was loaded was not told
    tokenizer.model_max_length = pipeline.text_encoder.config.context_length
    tokenizer.save_pretrained(folder / "tokenizer")
    schedule = write_schedule(pipeline.schedule, pipeline.sampler_options)
    write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    if pipeline.low_res is not None:
        (folder / "low_res_scheduler").mkdir(exist_ok=True)
        write_json(folder / "low_res_scheduler" / "scheduler_config.json", write_low_res(pipeline.low_res))
    write_json(folder / "model_index.json", _index(pipeline))
    card_file.write(folder, card, pipeline.latent_to_rgb, revision=card_file.revision_of(folder))


def save_autoencoder(autoencoder: Autoencoder, folder: Path, *, size: int, dtype: torch.dtype) -> None:
    """Writes the component folder of an autoencoder trained on pictures of size x size pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", write_autoencoder(autoencoder.config, size))
    save_weights(autoencoder, folder, UNET_STEM, dtype)


def _index(pipeline: Pipeline) -> dict[str, Any]:
    """Which class of diffusers has each part, and which pipeline of diffusers they make."""
    parts: dict[str, Any] = {
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
    }
    if pipeline.low_res is not None:
        name = "StableDiffusionUpscalePipeline"
        parts |= {
            "low_res_scheduler": ["diffusers", "DDPMScheduler"],
            "max_noise_level": pipeline.low_res.max_level,
            "watermarker": [None, None],
        }
    else:
        is_told_the_mask = pipeline.unet.config.in_channels == 2 * pipeline.autoencoder.config.latent_channels + 1
        name = "StableDiffusionInpaintPipeline" if is_told_the_mask else "StableDiffusionPipeline"
        parts["requires_safety_checker"] = False
    return {"_class_name": name, "_diffusers_version": _DIFFUSERS, **parts}
