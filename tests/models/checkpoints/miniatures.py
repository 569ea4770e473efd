"""The four Stable Diffusions that people have, written by diffusers itself, a hundredth as wide, with random weights.

Their configs are the published ones but for widths and sizes.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.training.tokenizer import train_tokenizer
from tests.models.conftest import CAPTIONS, TEXT_WIDTH

CONTEXT = 16
SCALED_LINEAR: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# What SD 1.x's scheduler_config.json holds: PNDM, with a key that no other scheduler knows.
PNDM = SCALED_LINEAR | {"skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1}
DDIM_V = SCALED_LINEAR | {
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
KINDS = ("sd1", "sd2", "inpainting", "upscaler")


def build(kind: str) -> Any:
    """One of KINDS as a diffusers pipeline."""
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        words = tokenizer(pad="!" if kind in ("sd2", "upscaler") else "<|endoftext|>")
        parts: dict[str, Any] = {"tokenizer": words, "text_encoder": _text_encoder(kind, words), "vae": _vae(kind)}
        parts["unet"] = _unet(kind)
        if kind == "upscaler":
            low_res = DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="scaled_linear")
            return StableDiffusionUpscalePipeline(
                **parts, low_res_scheduler=low_res, scheduler=DDIMScheduler(**DDIM_V), max_noise_level=350
            )
        make = StableDiffusionInpaintPipeline if kind == "inpainting" else StableDiffusionPipeline
        return make(
            **parts,
            scheduler=DDIMScheduler(**DDIM_V) if kind == "sd2" else PNDMScheduler(**PNDM),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def write(kind: str, folder: Path, **options: Any) -> Path:
    """One of KINDS as the folder that diffusers' save_pretrained writes."""
    build(kind).save_pretrained(folder / kind, **options)
    return folder / kind


def tokenizer(*, pad: str) -> CLIPTokenizer:
    """CLIP's tokenizer with the words of three captions."""
    trained = train_tokenizer(CAPTIONS, max_merges=50, context_length=CONTEXT)
    return CLIPTokenizer(vocab=trained.get_vocab(), merges=trained._merges, pad_token=pad, model_max_length=CONTEXT)


def _text_encoder(kind: str, words: Any) -> CLIPTextModel:
    # SD 2 takes OpenCLIP's text encoder, without its last layer
    openclip = {"hidden_act": "gelu", "num_hidden_layers": 23}
    clip = {"hidden_act": "quick_gelu", "num_hidden_layers": 2}
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        projection_dim=16,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=1,
        **(openclip if kind in ("sd2", "upscaler") else clip),
    )
    return CLIPTextModel(config).eval()


def _vae(kind: str) -> AutoencoderKL:
    widths = (16, 16, 32) if kind == "upscaler" else (16, 16, 16, 32)
    vae = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=0.08333 if kind == "upscaler" else 0.18215,
    ).eval()
    # untrained, it would decode to an even grey, on which any two pictures agree
    vae.decoder.conv_out.weight.data *= 4
    return vae


def _unet(kind: str) -> UNet2DConditionModel:
    shapes: dict[str, dict[str, Any]] = {
        "sd1": {"attention_head_dim": 2},
        "sd2": {"attention_head_dim": [2, 4], "use_linear_projection": True},
        "inpainting": {"attention_head_dim": 2, "in_channels": 9},
        "upscaler": {
            "attention_head_dim": 2,
            "block_out_channels": (32, 64, 64),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "in_channels": 7,
            "num_class_embeds": 1000,
            "only_cross_attention": (True, True, False),
            "use_linear_projection": True,
        },
    }
    usual: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "cross_attention_dim": TEXT_WIDTH,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "in_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 16,
        "out_channels": 4,
        "sample_size": 8,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**(usual | shapes[kind])).eval()
