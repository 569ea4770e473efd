"""Noise schedules, and which of their timesteps a sampler visits.

A schedule is the pair of tables that fixes the forward process: `betas`, the noise added by each step, and
`alpha_bar`, the signal that is left after it. Timesteps count from 0 (least noise) to T - 1, so the paper's
step t is our index t - 1, and `alpha_bar = 1` (no noise at all) is the level before index 0.

Axes: t = timesteps of the schedule (T), n = steps of a sampler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Prediction = Literal["eps", "v", "x0"]
Spacing = Literal["leading", "trailing", "linspace"]

# A level of exactly zero has an infinite sigma; this is the smallest float16 number, as diffusers has it.
SMALLEST_LEVEL = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The forward process as two tables, and what a network trained on it predicts.

    Shapes: betas, alpha_bar (T,) float64; alpha_bar[t] = prod of 1 - betas[0..t].
    Raises: ValueError if the tables do not describe a forward process, or if a network that predicts eps
    is asked to start at zero signal, where eps says nothing about the image.
    """

    betas: Tensor
    alpha_bar: Tensor
    prediction: Prediction

    def __post_init__(self) -> None:
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {get_args(Prediction)}, got {self.prediction!r}")
        for name, table in (("betas", self.betas), ("alpha_bar", self.alpha_bar)):
            if table.ndim != 1 or table.numel() == 0 or table.dtype != torch.float64:
                raise ValueError(f"{name} must be (T,) float64, got {tuple(table.shape)} {table.dtype}")
        if self.betas.shape != self.alpha_bar.shape:
            raise ValueError(f"{len(self.betas)} betas do not fit {len(self.alpha_bar)} values of alpha_bar")
        if not bool(((self.betas > 0) & (self.betas <= 1)).all()):
            low, high = self.betas.min().item(), self.betas.max().item()
            raise ValueError(f"betas must lie in (0, 1], got {low:g} to {high:g}")
        if self.prediction == "eps" and self.alpha_bar[-1] == 0:
            raise ValueError("a schedule that ends at zero signal needs prediction 'v' or 'x0', got 'eps'")

    @property
    def num_timesteps(self) -> int:
        """T, the length of the forward process."""
        return len(self.betas)

    @property
    def alpha_bar_previous(self) -> Tensor:
        """alpha_bar one step earlier, (T,); 1 before the first step."""
        return torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])

    @property
    def sigmas(self) -> Tensor:
        """Noise over signal, sqrt((1 - alpha_bar) / alpha_bar), (T,); finite even at zero signal."""
        level = self.alpha_bar.where(self.alpha_bar > 0, SMALLEST_LEVEL)
        return ((1 - level) / level).sqrt()

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule with its tables on `device`, so that a training loop gathers without copies."""
        return Schedule(self.betas.to(device), self.alpha_bar.to(device), self.prediction)


# --- Where schedules come from -------------------------------------------------------------------------


def schedule_from_betas(betas: Tensor, prediction: Prediction = "eps") -> Schedule:
    """The schedule of given betas (T,).

    Source: Ho et al. 2020, eq. 4.
    """
    # float64: the cumulative product loses digits in float32
    betas = betas.to(torch.float64)
    return Schedule(betas, torch.cumprod(1 - betas, dim=0), prediction)


def linear_schedule(
    num_timesteps: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    prediction: Prediction = "eps",
) -> Schedule:
    """betas evenly spaced from beta_start to beta_end.

    Source: Ho et al. 2020, section 4.
    """
    betas = torch.linspace(beta_start, beta_end, _checked(num_timesteps), dtype=torch.float64)
    return schedule_from_betas(betas, prediction)


def scaled_linear_schedule(
    num_timesteps: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    prediction: Prediction = "eps",
) -> Schedule:
    """Square roots of the betas evenly spaced: the schedule of latent diffusion.

    Source: Rombach et al. 2022 (their code; the defaults are Stable Diffusion's).
    """
    roots = torch.linspace(beta_start**0.5, beta_end**0.5, _checked(num_timesteps), dtype=torch.float64)
    return schedule_from_betas(roots**2, prediction)


def cosine_schedule(num_timesteps: int = 1000, prediction: Prediction = "eps", max_beta: float = 0.999) -> Schedule:
    """alpha_bar falls as a squared cosine; no beta exceeds max_beta (diffusers' `squaredcos_cap_v2`).

    Source: Nichol & Dhariwal 2021, eq. 17.
    """
    offset = 0.008  # keeps the first betas from being too small to matter
    times = torch.linspace(0, 1, _checked(num_timesteps) + 1, dtype=torch.float64)
    signal = torch.cos((times + offset) / (1 + offset) * math.pi / 2) ** 2  # (T + 1,)
    return schedule_from_betas((1 - signal[1:] / signal[:-1]).clamp(max=max_beta), prediction)


def rescale_zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule stretched so that the last timestep is pure noise and the first is as it was.

    Raises: ValueError unless the network predicts v: only v still says something where no signal is left.
    Source: Lin et al. 2024, algorithm 1.
    """
    if schedule.prediction != "v":
        raise ValueError(f"zero terminal SNR needs a network that predicts 'v', got {schedule.prediction!r}")
    signal = schedule.alpha_bar.sqrt()
    stretched = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    alpha_bar = stretched**2
    previous = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return Schedule(1 - alpha_bar / previous, alpha_bar, schedule.prediction)


def _checked(num_timesteps: int) -> int:
    if num_timesteps < 1:
        raise ValueError(f"a schedule has at least one timestep, got {num_timesteps}")
    return num_timesteps


# --- Which timesteps a sampler visits, noisiest first --------------------------------------------------


def leading(num_timesteps: int, num_steps: int, steps_offset: int = 0) -> Tensor:
    """Every (T // n)-th timestep from steps_offset up: ends at the first timestep, misses the noisiest.

    Returns: (n,) float64, descending. An offset that would leave the schedule is lowered until it fits.
    Source: Song et al. 2021 (their code); Lin et al. 2024, table 2.
    """
    stride = num_timesteps // num_steps
    offset = min(steps_offset, num_timesteps - 1 - stride * (num_steps - 1))
    return torch.arange(num_steps - 1, -1, -1, dtype=torch.float64) * stride + offset


def trailing(num_timesteps: int, num_steps: int) -> Tensor:
    """Evenly spaced down from the noisiest timestep T - 1.

    Returns: (n,) float64 whole numbers, descending.
    Source: Lin et al. 2024, table 2.
    """
    ends = num_timesteps - torch.arange(num_steps, dtype=torch.float64) * (num_timesteps / num_steps)
    return (ends.round() - 1).clamp(0, num_timesteps - 1)


def linspace(num_timesteps: int, num_steps: int) -> Tensor:
    """Evenly spaced from T - 1 to 0, both included; fractional. A single step starts at T - 1.

    Returns: (n,) float64, descending.
    Source: Nichol & Dhariwal 2021.
    """
    # upwards first, so that halves round to the same whole timesteps as in numpy's linspace
    rising = torch.arange(num_steps, dtype=torch.float64) * ((num_timesteps - 1) / max(num_steps - 1, 1))
    rising[-1] = num_timesteps - 1
    return rising.flip(0)


def usable_spacing(num_timesteps: int, num_steps: int, spacing: Spacing) -> Spacing:
    """The spacing asked for, but trailing in place of leading where num_steps does not divide T.

    There leading spacing would start far from pure noise: 600 of 1000 timesteps at t = 599.
    Raises: ValueError unless 1 <= num_steps <= T, or if the spacing is unknown.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"num_steps must be 1 to {num_timesteps}, the schedule's length, got {num_steps}")
    if spacing not in get_args(Spacing):
        raise ValueError(f"spacing must be one of {get_args(Spacing)}, got {spacing!r}")
    if spacing == "leading" and num_timesteps % num_steps != 0:
        return "trailing"
    return spacing


def spaced_timesteps(num_timesteps: int, num_steps: int, spacing: Spacing, steps_offset: int = 0) -> Tensor:
    """The timesteps of `num_steps` steps in a usable spacing.

    Returns: (n,) float64, descending; whole numbers but for linspace.
    Raises: as `usable_spacing`.
    """
    match usable_spacing(num_timesteps, num_steps, spacing):
        case "leading":
            return leading(num_timesteps, num_steps, steps_offset)
        case "trailing":
            return trailing(num_timesteps, num_steps)
        case "linspace":
            return linspace(num_timesteps, num_steps)


def karras_sigmas(sigma_min: float, sigma_max: float, num_steps: int, rho: float = 7.0) -> Tensor:
    """Sigmas whose rho-th roots are evenly spaced from sigma_max to sigma_min: the shortest steps come last.

    Returns: (n,) float64, descending.
    Source: Karras et al. 2022, eq. 5.
    """
    roots = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), num_steps, dtype=torch.float64)
    return roots**rho


# --- Between the timesteps -----------------------------------------------------------------------------


def sigma_at(schedule: Schedule, timesteps: Tensor) -> Tensor:
    """sigma at fractional timesteps, by straight lines between the whole ones. Shapes: (n,) to (n,)."""
    sigmas = schedule.sigmas
    below = timesteps.floor().long().clamp(0, len(sigmas) - 1)
    above = (below + 1).clamp(max=len(sigmas) - 1)
    return torch.lerp(sigmas[below], sigmas[above], timesteps - below)


def timestep_at(schedule: Schedule, sigmas: Tensor) -> Tensor:
    """The fractional timesteps at which the schedule has these sigmas, interpolated in log sigma.

    Shapes: (n,) to (n,). Sigmas beyond the schedule map to its ends.
    """
    table = schedule.sigmas.log()
    wanted = sigmas.log().clamp(table[0], table[-1])
    above = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
    below = (above - 1).clamp(min=0)
    gap = (table[above] - table[below]).clamp(min=torch.finfo(table.dtype).tiny)
    return below + (wanted - table[below]) / gap


def level_of(sigma: Tensor) -> Tensor:
    """alpha_bar of a noise level: 1 / (1 + sigma^2). Shape kept."""
    return 1 / (1 + sigma**2)
