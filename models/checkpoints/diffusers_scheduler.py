"""A scheduler's config: the schedule that the network was trained on, and how its samples are usually drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch

from models.checkpoints.json_fields import Json, choice, flag, positive, read_json, require, whole
from models.errors import CheckpointError
from models.pipeline import LowResNoise
from models.sampling import SamplerOptions
from models.schedule import (
    Prediction,
    Schedule,
    Spacing,
    cosine_schedule,
    linear_schedule,
    rescale_zero_terminal_snr,
    scaled_linear_schedule,
)

_PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_KINDS = ("linear", "scaled_linear", "squaredcos_cap_v2")
_SAMPLERS = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler",
    "LCMScheduler": "lcm",
}
_SUBSTITUTE = "ddim"
_MAX_TIMESTEPS = 100_000
# as diffusers has it where model_index.json says nothing
_MAX_NOISE_LEVEL = 350


@dataclass(frozen=True, slots=True)
class DefaultSampler:
    """What a model is drawn with unless one asks otherwise; `note` says where that is not what its files name."""

    name: str
    note: str | None = None


def read_schedule(config: Json) -> tuple[Schedule, SamplerOptions]:
    """The schedule of a scheduler's config, and the conventions that samplers keep on it. Raises: CheckpointError.

    Keys of one scheduler alone, such as PNDM's skip_prk_steps, say nothing about either and are not read.
    """
    require(config, {"trained_betas": None, "thresholding": False})
    prediction = _PREDICTIONS[choice(config, "prediction_type", "epsilon", _PREDICTIONS)]
    kind = choice(config, "beta_schedule", "linear", _KINDS)
    timesteps = whole(config, "num_train_timesteps", 1000, most=_MAX_TIMESTEPS)
    start, end = positive(config, "beta_start", 1e-4), positive(config, "beta_end", 0.02)
    try:
        if kind == "squaredcos_cap_v2":
            schedule = cosine_schedule(timesteps, prediction)
        else:
            make = linear_schedule if kind == "linear" else scaled_linear_schedule
            schedule = make(timesteps, start, end, prediction)
        if flag(config, "rescale_betas_zero_snr", False):
            schedule = rescale_zero_terminal_snr(schedule)
    except ValueError as error:
        raise CheckpointError(f"the scheduler's config makes no schedule: {error}") from error
    options = SamplerOptions(
        # None: each sampler's own, as diffusers has it when a scheduler takes over the config of another
        spacing=cast("Spacing | None", choice(config, "timestep_spacing", None, get_args(Spacing))),
        steps_offset=whole(config, "steps_offset", 0, least=0, most=timesteps),
        set_alpha_to_one=flag(config, "set_alpha_to_one", True),
    )
    return schedule, options


def read_sampler(config: Json) -> DefaultSampler:
    """The sampler that a scheduler's config names, or ddim, which keeps PNDM's timesteps, and a note that says so."""
    named = config.get("_class_name")
    if not isinstance(named, str):
        return DefaultSampler(_SUBSTITUTE)
    if named not in _SAMPLERS:
        return DefaultSampler(_SUBSTITUTE, f"its scheduler is {named:.60}; {_SUBSTITUTE} with its spacing is used")
    if config.get("clip_sample") is True:
        return DefaultSampler(_SAMPLERS[named], "its scheduler clips x0 to [-1, 1]; latents are not clipped here")
    return DefaultSampler(_SAMPLERS[named])


def read_low_res(folder: Path) -> LowResNoise | None:
    """How an upscaler's folder noises the small picture, or None where it has no low_res_scheduler.

    Raises: CheckpointError.
    """
    path = folder / "low_res_scheduler" / "scheduler_config.json"
    if not path.is_file():
        return None
    schedule, _ = read_schedule(read_json(path))
    last = schedule.num_timesteps - 1
    most = whole(read_json(folder / "model_index.json"), "max_noise_level", min(_MAX_NOISE_LEVEL, last), least=0)
    if most > last:
        raise CheckpointError(f"max_noise_level must be 0 to {last}, the last of its schedule, got {most}")
    return LowResNoise(schedule, most)


def write_schedule(schedule: Schedule, options: SamplerOptions) -> dict[str, Any]:
    """The config of a DDIM scheduler for a schedule. Raises: ValueError for betas that no config can name."""
    prediction = {ours: theirs for theirs, ours in _PREDICTIONS.items()}[schedule.prediction]
    return {
        "_class_name": "DDIMScheduler",
        **_named_betas(schedule),
        "num_train_timesteps": schedule.num_timesteps,
        "prediction_type": prediction,
        # unsaid, it is each sampler's own
        **({} if options.spacing is None else {"timestep_spacing": options.spacing}),
        "steps_offset": options.steps_offset,
        "set_alpha_to_one": options.set_alpha_to_one,
        "clip_sample": False,
    }


def write_low_res(low_res: LowResNoise) -> dict[str, Any]:
    """The config of the scheduler that noises the small picture: only its betas count."""
    return {
        "_class_name": "DDPMScheduler",
        **_named_betas(low_res.schedule),
        "num_train_timesteps": low_res.schedule.num_timesteps,
        "prediction_type": "epsilon",
        "clip_sample": False,
    }


def _named_betas(schedule: Schedule) -> dict[str, Any]:
    first, last = float(schedule.betas[0]), float(schedule.betas[-1])
    # ends that were typed as decimals come back as such
    ends = float(f"{first:.12g}"), float(f"{last:.12g}")
    count = schedule.num_timesteps
    for kind, candidate in (
        ("squaredcos_cap_v2", cosine_schedule(count, "v")),
        ("linear", linear_schedule(count, *ends, "v")),
        ("scaled_linear", scaled_linear_schedule(count, *ends, "v")),
    ):
        if torch.allclose(candidate.betas, schedule.betas, rtol=1e-9, atol=0.0):
            named: dict[str, Any] = {"beta_schedule": kind}
            return named if kind == "squaredcos_cap_v2" else named | {"beta_start": ends[0], "beta_end": ends[1]}
    raise ValueError(f"betas from {first:g} to {last:g} are none of {', '.join(_KINDS)}: no config can name them")
