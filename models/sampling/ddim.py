"""DDIM, and the three samplers that are DDIM by another name.

In the variance-preserving scale the four differ only in eta (how much fresh noise a step draws) and in the
levels they visit:

    ddim              eta of your choice    whole timesteps
    ddpm              eta = 1               whole timesteps
    euler             eta = 0               fractional timesteps, or Karras levels
    euler_ancestral   eta = 1               fractional timesteps, or Karras levels

Axes: n = steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.sampling.plan import SamplerOptions, SamplingPlan
from models.schedule import (
    Schedule,
    karras_sigmas,
    level_of,
    sigma_at,
    spaced_timesteps,
    timestep_at,
    usable_spacing,
)


def ddim(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """Song's implicit sampler: deterministic at eta = 0, Ho's ancestral one at eta = 1.

    Source: Song et al. 2021, eq. 12 and 16.
    """
    timesteps, levels = _whole_timesteps(schedule, num_steps, options)
    if not options.set_alpha_to_one:
        levels[-1] = schedule.alpha_bar[0]
    return _plan(timesteps, levels, start, options.eta)


def ddpm(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """Ho's ancestral sampler with the posterior's variance, on any subset of the timesteps.

    Source: Ho et al. 2020, algorithm 2; Nichol & Dhariwal 2021, section 4 (subsets).
    """
    return _plan(*_whole_timesteps(schedule, num_steps, options), start, eta=1.0)


def euler(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """Euler's method on the probability-flow ODE in sigma.

    Source: Karras et al. 2022, algorithm 1 without its second-order correction.
    """
    timesteps, levels = _fractional_timesteps(schedule, num_steps, options)
    return _plan(timesteps, levels, start, 0.0, _sigma_scale(schedule, num_steps, levels, options))


def euler_ancestral(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """Euler's method that steps too far down and draws the difference anew.

    Source: Crowson, k-diffusion, `sample_euler_ancestral`.
    """
    timesteps, levels = _fractional_timesteps(schedule, num_steps, options)
    return _plan(timesteps, levels, start, 1.0, _sigma_scale(schedule, num_steps, levels, options))


def ddim_coefficients(levels: Tensor, eta: float) -> Tensor:
    """a, b, c, d of DDIM steps between successive levels: (n + 1,) to (n, 4).

    The prediction splits x into x0 and eps; x0 is noised again to the next level, partly by that eps and
    partly (std) by fresh noise.
    Source: Song et al. 2021, eq. 12 and 16.
    """
    now, after = levels[:-1], levels[1:]
    std = eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()
    # the difference may come out as -1e-17 where it is 0
    a = ((1 - after - std**2).clamp(min=0) / (1 - now)).sqrt()
    b = after.sqrt() - a * now.sqrt()
    return torch.stack([a, b, torch.zeros_like(a), std], dim=1)


def _plan(timesteps: Tensor, levels: Tensor, start: int, eta: float, init_scale: float = 1.0) -> SamplingPlan:
    levels = levels[start:]
    return SamplingPlan(timesteps[start:], levels, init_scale, ddim_coefficients(levels, eta))


def _whole_timesteps(schedule: Schedule, num_steps: int, options: SamplerOptions) -> tuple[Tensor, Tensor]:
    """Timesteps (n,), each in the schedule itself, and their levels (n + 1,), the last 1."""
    spacing = options.spacing or "leading"
    timesteps = spaced_timesteps(schedule.num_timesteps, num_steps, spacing, options.steps_offset).round()
    return timesteps, torch.cat([schedule.alpha_bar[timesteps.long()], schedule.alpha_bar.new_ones(1)])


def _fractional_timesteps(schedule: Schedule, num_steps: int, options: SamplerOptions) -> tuple[Tensor, Tensor]:
    """Timesteps (n,), where need be between two of the schedule, and their levels (n + 1,), the last 1."""
    spacing = options.spacing or "linspace"
    timesteps = spaced_timesteps(schedule.num_timesteps, num_steps, spacing, options.steps_offset)
    sigmas = sigma_at(schedule, timesteps)
    if options.karras:
        sigmas = karras_sigmas(sigmas[-1].item(), sigmas[0].item(), num_steps)
        timesteps = timestep_at(schedule, sigmas)
    return timesteps, torch.cat([level_of(sigmas), sigmas.new_ones(1)])


def _sigma_scale(schedule: Schedule, num_steps: int, levels: Tensor, options: SamplerOptions) -> float:
    """The noise of the first level, as k-diffusion starts; or 1, as diffusers has it for leading spacing."""
    spacing = usable_spacing(schedule.num_timesteps, num_steps, options.spacing or "linspace")
    return 1.0 if spacing == "leading" else (1 - levels[0]).sqrt().item()
