"""DPM-Solver++ 2M, the second-order multistep solver, and its stochastic sibling.

Between two predictions x0 changes smoothly in lambda = log(signal / noise), so the slope that the last two
predictions show is carried on to the middle of the next step.

Axes: n = steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.process import amplitudes
from models.sampling.plan import SamplerOptions, SamplingPlan
from models.schedule import (
    Schedule,
    Spacing,
    karras_sigmas,
    leading,
    level_of,
    linspace,
    timestep_at,
    trailing,
    usable_spacing,
)


def dpmpp_2m(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """The deterministic solver of the probability-flow ODE.

    Source: Lu et al. 2022b (DPM-Solver++), algorithm 2.
    """
    return _plan(schedule, num_steps, start, options, stochastic=False)


def dpmpp_2m_sde(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """The same for the reverse SDE: each step draws fresh noise.

    Source: Lu et al. 2022b, SDE-DPM-Solver++(2M).
    """
    return _plan(schedule, num_steps, start, options, stochastic=True)


def dpm_solver_coefficients(levels: Tensor, stochastic: bool) -> Tensor:
    """a, b, c, d of 2M steps between successive levels: (n + 1,) to (n, 4).

    The first step, and a last one that ends at the clean image, are of first order: before the one there is
    no prediction, and the other is infinitely long in lambda.
    Source: Lu et al. 2022b, algorithm 2, with r = h_previous / h; for the SDE their midpoint variant.
    """
    signal, noise = amplitudes(levels)
    signal_after, noise_after = signal[1:], noise[1:]
    log_snr = signal.log() - noise.log()  # lambda
    h = log_snr.diff()
    shrink = noise_after / noise[:-1] * signal[:-1] / signal_after  # exp(-h), also where h is infinite

    a = noise_after / noise[:-1]
    d = torch.zeros_like(a)
    weight = signal_after * (1 - shrink)
    if stochastic:
        a = a * shrink
        weight = signal_after * (1 - shrink**2)
        d = noise_after * (1 - shrink**2).sqrt()

    slope = torch.zeros_like(h)  # 1 / (2 r), 0 where the step is of first order
    slope[1:] = (h[1:] / h[:-1] / 2).where(h[1:].isfinite(), 0)
    return torch.stack([a, weight * (1 + slope), -weight * slope, d], dim=1)


def _plan(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions, stochastic: bool) -> SamplingPlan:
    spacing = usable_spacing(schedule.num_timesteps, num_steps, options.spacing or "linspace")
    timesteps = _timesteps(schedule.num_timesteps, num_steps, spacing, options.steps_offset)
    sigmas = schedule.sigmas[timesteps.long()]
    if options.karras:
        sigmas = karras_sigmas(schedule.sigmas[0].item(), schedule.sigmas[-1].item(), num_steps)
        # the networks that this sampler is used with were trained on whole timesteps
        timesteps = timestep_at(schedule, sigmas).round()
    # sliced before the coefficients: a multistep table cut in the middle looks back to a step not taken
    levels = torch.cat([level_of(sigmas), sigmas.new_ones(1)])[start:]
    return SamplingPlan(timesteps[start:], levels, 1.0, dpm_solver_coefficients(levels, stochastic))


def _timesteps(num_timesteps: int, num_steps: int, spacing: Spacing, steps_offset: int) -> Tensor:
    """The solver's own spacing: n + 1 points, of which the last gives way to the clean image. (n,) whole.

    Source: Lu et al. 2022a (DPM-Solver, their code).
    """
    if spacing == "trailing" or num_steps == num_timesteps:
        return trailing(num_timesteps, num_steps)
    if spacing == "linspace":
        return linspace(num_timesteps, num_steps + 1)[:-1].round()
    return leading(num_timesteps, num_steps + 1, steps_offset)[:-1]
