"""The words of diffusers' and transformers' config.json for what `models.config` calls by the field's names, both ways.

Only known keys are read, each checked for its type; keys that would change the network in a way that is not built here
are refused unless they hold the value that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from models.config import AutoencoderConfig, TextEncoderConfig, UNetConfig
from models.errors import CheckpointError
from models.sampling import SamplerOptions
from models.schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    rescale_zero_terminal_snr,
    scaled_linear_schedule,
)

T = TypeVar("T")
Json = Mapping[str, Any]

_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_DOWN = {False: "DownBlock2D", True: "CrossAttnDownBlock2D"}
_UP = {False: "UpBlock2D", True: "CrossAttnUpBlock2D"}
# What these keys hold in every Stable Diffusion; anything else is a network we would build wrongly.
_UNET_FIXED: Json = {
    "act_fn": "silu",
    "center_input_sample": False,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "mid_block_scale_factor": 1,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "class_embed_type": None,
    "addition_embed_type": None,
    "encoder_hid_dim": None,
}


def read_unet(config: Json) -> UNetConfig:
    """Raises: CheckpointError naming the key that is missing, of the wrong type, or not supported."""
    _require(config, _UNET_FIXED)
    channels = _ints(config, "block_out_channels")
    levels = len(channels)
    attention = _flags(config, "down_block_types", _DOWN)
    if tuple(reversed(_flags(config, "up_block_types", _UP))) != attention:
        raise CheckpointError("up_block_types must mirror down_block_types")
    heads_key = "num_attention_heads" if config.get("num_attention_heads") is not None else "attention_head_dim"
    return _build(
        UNetConfig,
        in_channels=_get(config, "in_channels", int, 4),
        out_channels=_get(config, "out_channels", int, 4),
        channels=channels,
        attention=attention,
        # diffusers calls the number of heads attention_head_dim, and keeps doing so for old files' sake
        heads=_spread(config, heads_key, levels, 8),
        cross_attention_dim=_get(config, "cross_attention_dim", int, 1280),
        layers_per_block=_get(config, "layers_per_block", int, 2),
        transformer_depth=_spread(config, "transformer_layers_per_block", levels, 1),
        only_cross_attention=tuple(bool(flag) for flag in _spread(config, "only_cross_attention", levels, False)),
        linear_projection=_get(config, "use_linear_projection", bool, False),
        norm_groups=_get(config, "norm_num_groups", int, 32),
        norm_eps=_get(config, "norm_eps", float, 1e-5),
        num_class_embeds=_get(config, "num_class_embeds", int, None),
        flip_sin_to_cos=_get(config, "flip_sin_to_cos", bool, True),
        freq_shift=_get(config, "freq_shift", float, 0.0),
    )


def write_unet(config: UNetConfig, sample_size: int) -> dict[str, Any]:
    """The config.json of a UNet."""
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": list(config.channels),
        "down_block_types": [_DOWN[attends] for attends in config.attention],
        "up_block_types": [_UP[attends] for attends in reversed(config.attention)],
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
    channels = _ints(config, "block_out_channels")
    _require(
        config,
        {
            "act_fn": "silu",
            "down_block_types": ["DownEncoderBlock2D"] * len(channels),
            "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        },
    )
    return _build(
        AutoencoderConfig,
        channels=channels,
        latent_channels=_get(config, "latent_channels", int, 4),
        image_channels=_get(config, "in_channels", int, 3),
        layers_per_block=_get(config, "layers_per_block", int, 1),
        norm_groups=_get(config, "norm_num_groups", int, 32),
        mid_attention=_get(config, "mid_block_add_attention", bool, True),
        quant_conv=_get(config, "use_quant_conv", bool, True),
        post_quant_conv=_get(config, "use_post_quant_conv", bool, True),
        scaling_factor=_get(config, "scaling_factor", float, 0.18215),
        shift_factor=_get(config, "shift_factor", float, None) or 0.0,
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
        "act_fn": "silu",
    }


def read_text_encoder(config: Json) -> TextEncoderConfig:
    """Raises: CheckpointError naming the key that is missing, of the wrong type, or not supported."""
    _require(config, {"model_type": "clip_text_model", "layer_norm_eps": 1e-5})
    return _build(
        TextEncoderConfig,
        vocab_size=_get(config, "vocab_size", int, 49408),
        width=_get(config, "hidden_size", int, 512),
        layers=_get(config, "num_hidden_layers", int, 12),
        heads=_get(config, "num_attention_heads", int, 8),
        context_length=_get(config, "max_position_embeddings", int, 77),
        activation=_get(config, "hidden_act", str, "quick_gelu"),
        mlp_width=_get(config, "intermediate_size", int, 2048),
    )


def read_schedule(config: Json) -> tuple[Schedule, SamplerOptions]:
    """The schedule of a scheduler's config, and the conventions that samplers keep on it. Raises: CheckpointError."""
    _require(config, {"trained_betas": None, "thresholding": False})
    prediction = _PREDICTIONS.get(_get(config, "prediction_type", str, "epsilon"))
    if prediction is None:
        raise CheckpointError(
            f"prediction_type must be one of {sorted(_PREDICTIONS)}, got {config['prediction_type']!r}"
        )
    kind = _get(config, "beta_schedule", str, "linear")
    steps = _get(config, "num_train_timesteps", int, 1000)
    start, end = _get(config, "beta_start", float, 1e-4), _get(config, "beta_end", float, 0.02)
    try:
        if kind == "squaredcos_cap_v2":
            schedule = cosine_schedule(steps, prediction)  # type: ignore[arg-type]
        elif kind in ("linear", "scaled_linear"):
            make = linear_schedule if kind == "linear" else scaled_linear_schedule
            schedule = make(steps, start, end, prediction)  # type: ignore[arg-type]
        else:
            raise CheckpointError(f"beta_schedule must be linear, scaled_linear or squaredcos_cap_v2, got {kind!r}")
        if _get(config, "rescale_betas_zero_snr", bool, False):
            schedule = rescale_zero_terminal_snr(schedule)
        options = SamplerOptions(
            spacing=_get(config, "timestep_spacing", str, "leading"),  # type: ignore[arg-type]
            steps_offset=_get(config, "steps_offset", int, 0),
            set_alpha_to_one=_get(config, "set_alpha_to_one", bool, True),
        )
    except ValueError as error:
        raise CheckpointError(f"the scheduler's config makes no schedule: {error}") from error
    return schedule, options


def write_schedule(schedule: Schedule, options: SamplerOptions) -> dict[str, Any]:
    """The config of a DDIM scheduler for a cosine schedule, the only one that is trained here."""
    prediction = {ours: theirs for theirs, ours in _PREDICTIONS.items()}[schedule.prediction]
    return {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "squaredcos_cap_v2",
        "num_train_timesteps": schedule.num_timesteps,
        "prediction_type": prediction,
        "timestep_spacing": options.spacing,
        "steps_offset": options.steps_offset,
        "set_alpha_to_one": options.set_alpha_to_one,
        "clip_sample": False,
    }


# --- Reading with care ---------------------------------------------------------------------------------


def _get(config: Json, key: str, kind: type[Any], default: Any) -> Any:
    value = config.get(key)
    if value is None:
        return default
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise CheckpointError(f"{key} must be {kind.__name__}, got {value!r:.80}")
    return value


def _ints(config: Json, key: str) -> tuple[int, ...]:
    value = config.get(key)
    fits = isinstance(value, (list, tuple)) and 1 <= len(value) <= 8
    if not fits or not all(type(one) is int and 1 <= one <= 8192 for one in value or ()):
        raise CheckpointError(f"{key} must list one to eight whole numbers from 1 to 8192, got {value!r:.80}")
    return tuple(value or ())


def _spread(config: Json, key: str, levels: int, default: int) -> tuple[int, ...]:
    """A number for each level, or one for all of them."""
    value = config.get(key)
    value = default if value is None else value
    values = list(value) if isinstance(value, (list, tuple)) else [value] * levels
    if len(values) != levels or not all(isinstance(one, int) and 0 <= one <= 1024 for one in values):
        raise CheckpointError(f"{key} must be a number, or one for each of the {levels} levels, got {value!r:.80}")
    return tuple(values)


def _flags(config: Json, key: str, names: Mapping[bool, str]) -> tuple[bool, ...]:
    value = config.get(key)
    known = {name: flag for flag, name in names.items()}
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) and one in known for one in value):
        raise CheckpointError(f"{key} must list {' or '.join(known)}, got {value!r:.120}")
    return tuple(known[one] for one in value)


def _require(config: Json, fixed: Json) -> None:
    for key, only in fixed.items():
        if key in config and config[key] != only:
            raise CheckpointError(f"{key} = {config[key]!r:.80} is not supported, only {only!r}")


def _build(kind: type[T], **values: Any) -> T:
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(str(error)) from error
