"""The words of diffusers' and transformers' config.json for what `models.config` calls by the field's names, both ways.

Only known keys are read, each checked for its type; keys that would change the network in a way that is not built here
are refused unless they hold the value that is. Any other key (`_name_or_path`, `torch_dtype` ...) is inert.
"""

from __future__ import annotations

from typing import Any, TypeVar

from models.checkpoints.json_fields import (
    MAX_WIDTH,
    Json,
    blocks,
    choice,
    flag,
    flags_per_level,
    number,
    per_level,
    positive,
    require,
    whole,
    widths,
)
from models.config import AutoencoderConfig, TextEncoderConfig, UNetConfig
from models.errors import CheckpointError

T = TypeVar("T")

_DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
_UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
# Bounds that no model reaches: building a network takes time for every layer, even without weights.
_MAX_BLOCK_LAYERS, _MAX_DEPTH, _MAX_TEXT_LAYERS, _MAX_VOCABULARY = 8, 32, 64, 1 << 20
_ACTIVATIONS = ("quick_gelu", "gelu")
# What these keys hold in every Stable Diffusion; anything else is a network we would build wrongly.
_UNET_FIXED: Json = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
}


def read_unet(config: Json) -> UNetConfig:
    """Raises: CheckpointError naming the key that is missing, of the wrong type, or not supported."""
    require(config, _UNET_FIXED)
    channels = widths(config, "block_out_channels")
    levels = len(channels)
    attention = blocks(config, "down_block_types", _DOWN)
    if tuple(reversed(blocks(config, "up_block_types", _UP))) != attention:
        raise CheckpointError("up_block_types must mirror down_block_types")
    heads_key = "num_attention_heads" if config.get("num_attention_heads") is not None else "attention_head_dim"
    return _build(
        UNetConfig,
        in_channels=whole(config, "in_channels", 4),
        out_channels=whole(config, "out_channels", 4),
        channels=channels,
        attention=attention,
        # diffusers calls the number of heads attention_head_dim, and keeps doing so for old files' sake
        heads=per_level(config, heads_key, levels, 8),
        cross_attention_dim=whole(config, "cross_attention_dim", 1280),
        layers_per_block=whole(config, "layers_per_block", 2, most=_MAX_BLOCK_LAYERS),
        transformer_depth=per_level(config, "transformer_layers_per_block", levels, 1, most=_MAX_DEPTH),
        only_cross_attention=flags_per_level(config, "only_cross_attention", levels),
        linear_projection=flag(config, "use_linear_projection", False),
        norm_groups=whole(config, "norm_num_groups", 32),
        norm_eps=positive(config, "norm_eps", 1e-5),
        num_class_embeds=whole(config, "num_class_embeds", None),
        flip_sin_to_cos=flag(config, "flip_sin_to_cos", True),
        freq_shift=number(config, "freq_shift", 0.0),
    )


def write_unet(config: UNetConfig, sample_size: int) -> dict[str, Any]:
    """The config.json of a UNet."""
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": list(config.channels),
        "down_block_types": [_name(_DOWN, attends) for attends in config.attention],
        "up_block_types": [_name(_UP, attends) for attends in reversed(config.attention)],
        "attention_head_dim": list(config.heads),
        "cross_attention_dim": config.cross_attention_dim,
        "layers_per_block": config.layers_per_block,
        "transformer_layers_per_block": list(config.transformer_depth),
        "only_cross_attention": list(config.only_cross_attention),
        "use_linear_projection": config.linear_projection,
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
        "num_class_embeds": config.num_class_embeds,
        "flip_sin_to_cos": config.flip_sin_to_cos,
        "freq_shift": int(config.freq_shift),
        "act_fn": "silu",
    }


def read_autoencoder(config: Json) -> AutoencoderConfig:
    """Raises: CheckpointError naming the key that is missing, of the wrong type, or not supported."""
    channels = widths(config, "block_out_channels")
    require(
        config,
        {
            "act_fn": "silu",
            "down_block_types": ["DownEncoderBlock2D"] * len(channels),
            "up_block_types": ["UpDecoderBlock2D"] * len(channels),
            "out_channels": config.get("in_channels", 3),
            "latents_mean": None,
            "latents_std": None,
        },
    )
    return _build(
        AutoencoderConfig,
        channels=channels,
        latent_channels=whole(config, "latent_channels", 4),
        image_channels=whole(config, "in_channels", 3),
        layers_per_block=whole(config, "layers_per_block", 1, most=_MAX_BLOCK_LAYERS),
        norm_groups=whole(config, "norm_num_groups", 32),
        mid_attention=flag(config, "mid_block_add_attention", True),
        quant_conv=flag(config, "use_quant_conv", True),
        post_quant_conv=flag(config, "use_post_quant_conv", True),
        scaling_factor=positive(config, "scaling_factor", 0.18215),
        shift_factor=number(config, "shift_factor", 0.0),
    )


def write_autoencoder(config: AutoencoderConfig, size: int) -> dict[str, Any]:
    """The config.json of an autoencoder."""
    return {
        "_class_name": "AutoencoderKL",
        "sample_size": size,
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "block_out_channels": list(config.channels),
        "down_block_types": ["DownEncoderBlock2D"] * len(config.channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(config.channels),
        "latent_channels": config.latent_channels,
        "layers_per_block": config.layers_per_block,
        "norm_num_groups": config.norm_groups,
        "mid_block_add_attention": config.mid_attention,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
        "scaling_factor": config.scaling_factor,
        "shift_factor": config.shift_factor,
        "act_fn": "silu",
    }


def read_text_encoder(config: Json) -> TextEncoderConfig:
    """Raises: CheckpointError naming the key that is missing, of the wrong type, or not supported."""
    require(config, {"model_type": "clip_text_model", "layer_norm_eps": 1e-5})
    return _build(
        TextEncoderConfig,
        vocab_size=whole(config, "vocab_size", 49408, most=_MAX_VOCABULARY),
        width=whole(config, "hidden_size", 512),
        layers=whole(config, "num_hidden_layers", 12, most=_MAX_TEXT_LAYERS),
        heads=whole(config, "num_attention_heads", 8),
        context_length=whole(config, "max_position_embeddings", 77),
        activation=choice(config, "hidden_act", "quick_gelu", _ACTIVATIONS),
        mlp_width=whole(config, "intermediate_size", 2048, most=4 * MAX_WIDTH),
    )


def _build(kind: type[T], **values: Any) -> T:
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(str(error)) from error


def _name(names: dict[str, bool], attends: bool) -> str:
    return next(name for name, meaning in names.items() if meaning is attends)
