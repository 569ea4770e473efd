"""Few-step sampling of latent consistency models.

A consistency model answers with the end of its trajectory from any point of it. So each step jumps to the
clean latent, and all but the last go back into fresh noise of the next level.

Axes: n = steps.
"""

from __future__ import annotations

import torch

from models.sampling.plan import SamplerOptions, SamplingPlan
from models.schedule import Schedule

MAX_STEPS = 50
"""The timesteps that latent consistency models are distilled on."""

SIGMA_DATA = 0.5
TIMESTEP_SCALE = 10.0


def lcm(schedule: Schedule, num_steps: int, start: int, options: SamplerOptions) -> SamplingPlan:
    """Multistep consistency sampling on a subset of the distillation's timesteps; has its own spacing.

    Source: Luo et al. 2023, algorithm 3; Song et al. 2023, eq. 5 and appendix C (the skip).
    """
    distilled = min(MAX_STEPS, schedule.num_timesteps)
    stride = schedule.num_timesteps // distilled
    grid = torch.arange(distilled, 0, -1, dtype=torch.float64) * stride - 1  # (distilled,)
    chosen = (torch.arange(num_steps, dtype=torch.float64) * (distilled / num_steps)).floor().long()
    timesteps = grid[chosen][start:]
    levels = torch.cat([schedule.alpha_bar[timesteps.long()], schedule.alpha_bar.new_ones(1)])

    # the skip makes the model the identity at t = 0, whatever the network says there
    scaled = timesteps * TIMESTEP_SCALE
    skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    out = scaled / (scaled**2 + SIGMA_DATA**2).sqrt()
    signal, noise = levels[1:].sqrt(), (1 - levels[1:]).sqrt()
    coefficients = torch.stack([signal * skip, signal * out, torch.zeros_like(skip), noise], dim=1)
    return SamplingPlan(timesteps, levels, 1.0, coefficients)
