"""The diffusion process: forward, its posterior, its reverse, and the words a network may answer in.

The forward process turns an image x0 into noise,

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)
    q(x_t | x0)      = N(sqrt(alpha_bar_t) x0, (1 - alpha_bar_t) I)

and a network answers with one of three things which, given x and alpha_bar, say the same:

    x = signal * x0 + noise * eps,    v = signal * eps - noise * x0,
    signal = sqrt(alpha_bar),         noise = sqrt(1 - alpha_bar).

Axes: b = batch; `...` = whatever a data point has, such as c h w. Timesteps t (b,) count from 0.
Arithmetic is float32 (float64 if x is); levels stay float64 until their roots are taken.

Sources: Sohl-Dickstein et al. 2015; Ho et al. 2020; Salimans & Ho 2022 (v).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.schedule import Prediction, Schedule

Network = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> prediction: (b, ...), (b,) -> (b, ...)."""

FixedVariance = Literal["posterior", "beta"]
"""Ho's two choices for the reverse step: the posterior's own variance (exact if the data is one point),
or beta_t (exact if the data is white noise)."""

ReverseVariance = FixedVariance | Network
"""A fixed choice, or a learned variance: (x, t) -> anything that broadcasts over x."""


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """A normal distribution with diagonal covariance. Shapes: mean (b, ...); variance broadcasts to it."""

    mean: Tensor
    variance: Tensor

    def sample(self, z: Tensor) -> Tensor:
        """mean + std * z, where z (b, ...) is standard normal noise from the caller's generator."""
        return self.mean + self.variance.sqrt() * z


# --- Forward -------------------------------------------------------------------------------------------


def q_step(x: Tensor, t: Tensor, schedule: Schedule) -> Gaussian:
    """q(x_t | x_{t-1} = x): one step of the forward process.

    Shapes: x (b, ...); t (b,). Returns (b, ...) and (b, 1, ...).
    Source: Ho et al. 2020, eq. 2.
    """
    beta = at(schedule.betas, t, x)
    x, signal, variance = _alike(x, (1 - beta).sqrt(), beta)
    return Gaussian(signal * x, variance)


def q_marginal(x0: Tensor, t: Tensor, schedule: Schedule) -> Gaussian:
    """q(x_t | x0): the first t + 1 steps of the forward process at once.

    Shapes: x0 (b, ...); t (b,). Returns (b, ...) and (b, 1, ...).
    Source: Ho et al. 2020, eq. 4.
    """
    alpha_bar = at(schedule.alpha_bar, t, x0)
    x0, signal, variance = _alike(x0, alpha_bar.sqrt(), 1 - alpha_bar)
    return Gaussian(signal * x0, variance)


def q_sample(x0: Tensor, t: Tensor, noise: Tensor, schedule: Schedule) -> Tensor:
    """x_t of the image x0 and the noise, both (b, ...); t (b,)."""
    return add_noise(x0, noise, at(schedule.alpha_bar, t, x0))


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x of the image x0 and the noise at a level that broadcasts over them, such as (b, 1, 1, 1)."""
    x0, noise, signal, sigma = _alike(x0, noise, *amplitudes(alpha_bar))
    return signal * x0 + sigma * noise


def snr(t: Tensor, schedule: Schedule) -> Tensor:
    """Signal over noise, alpha_bar / (1 - alpha_bar), at each timestep: (b,) to (b,) float32."""
    alpha_bar = at(schedule.alpha_bar, t, t)
    return (alpha_bar / (1 - alpha_bar)).float()


def posterior(x0: Tensor, x: Tensor, t: Tensor, schedule: Schedule) -> Gaussian:
    """Mean and variance of q(x_{t-1} | x_t = x, x0). At t = 0 it is the point x0.

    Shapes: x0, x (b, ...); t (b,) integers in 0..T-1. Returns (b, ...) and (b, 1, ...).
    Raises: ValueError if a t is outside the schedule.
    Source: Ho et al. 2020, eq. 6-7.
    """
    x, x0, of_x0, of_x, variance = _alike(x, x0, *_posterior_coefficients(t, x, schedule))
    return Gaussian(of_x0 * x0 + of_x * x, variance)


def _posterior_coefficients(t: Tensor, x: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of x0 and of x in the posterior's mean, and its variance; each (b, 1, ...) float64."""
    beta = at(schedule.betas, t, x)
    alpha_bar = at(schedule.alpha_bar, t, x)
    alpha_bar_previous = at(schedule.alpha_bar_previous, t, x)
    of_x0 = alpha_bar_previous.sqrt() * beta / (1 - alpha_bar)
    of_x = (1 - beta).sqrt() * (1 - alpha_bar_previous) / (1 - alpha_bar)
    variance = beta * (1 - alpha_bar_previous) / (1 - alpha_bar)
    return of_x0, of_x, variance


# --- What a network may predict ------------------------------------------------------------------------


def to_x0(prediction: Tensor, x: Tensor, alpha_bar: Tensor, kind: Prediction) -> Tensor:
    """The clean image that a prediction of the given kind stands for.

    Shapes: prediction, x (b, ...); alpha_bar broadcasts over them.
    An answer that says nothing about x0 (eps at zero signal) gives 0.
    """
    x, prediction, signal, sigma = _alike(x, prediction, *amplitudes(alpha_bar))
    if kind == "eps":
        return _divide(x - sigma * prediction, signal)
    if kind == "v":
        return signal * x - sigma * prediction
    return _same(prediction, kind, "x0")


def to_eps(prediction: Tensor, x: Tensor, alpha_bar: Tensor, kind: Prediction) -> Tensor:
    """The noise that a prediction of the given kind stands for. Shapes as in `to_x0`.

    An answer that says nothing about eps (x0 at zero noise) gives 0.
    """
    x, prediction, signal, sigma = _alike(x, prediction, *amplitudes(alpha_bar))
    if kind == "x0":
        return _divide(x - signal * prediction, sigma)
    if kind == "v":
        return signal * prediction + sigma * x
    return _same(prediction, kind, "eps")


def to_v(prediction: Tensor, x: Tensor, alpha_bar: Tensor, kind: Prediction) -> Tensor:
    """The velocity that a prediction of the given kind stands for. Shapes as in `to_x0`.

    An answer that says nothing about v (eps at zero signal, x0 at zero noise) gives 0.
    """
    x, prediction, signal, sigma = _alike(x, prediction, *amplitudes(alpha_bar))
    if kind == "eps":
        return _divide(prediction - sigma * x, signal)
    if kind == "x0":
        return _divide(signal * x - prediction, sigma)
    return _same(prediction, kind, "v")


def to_mean(x0: Tensor, x: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The mean of the reverse step that a predicted x0 stands for, Ho's mu. Shapes as in `posterior`."""
    return posterior(x0, x, t, schedule).mean


def mean_to_x0(mean: Tensor, x: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The x0 that a predicted mean of the reverse step stands for: `to_mean` backwards."""
    x, mean, of_x0, of_x, _ = _alike(x, mean, *_posterior_coefficients(t, x, schedule))
    return (mean - of_x * x) / of_x0


def training_target(x0: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """What the schedule's network should answer at x_t = q_sample(x0, t, noise, schedule). (b, ...)."""
    x0, noise, signal, sigma = _alike(x0, noise, *amplitudes(at(schedule.alpha_bar, t, x0)))
    if schedule.prediction == "v":
        return signal * noise - sigma * x0
    return noise if schedule.prediction == "eps" else x0


# --- Reverse -------------------------------------------------------------------------------------------


def predict_x0(network: Network, x: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The network's x0, whichever kind it answers in. Shapes: x (b, ...); t (b,). Returns (b, ...)."""
    return to_x0(network(x, t), x, at(schedule.alpha_bar, t, x), schedule.prediction)


def reverse(x0: Tensor, x: Tensor, t: Tensor, schedule: Schedule, variance: ReverseVariance = "posterior") -> Gaussian:
    """p(x_{t-1} | x_t = x), the step towards the image, for a predicted x0.

    Shapes: x0, x (b, ...); t (b,).
    Source: Ho et al. 2020, eq. 1 and 11.
    """
    chosen = variance(x, t) if callable(variance) else fixed_variance(t, x, schedule, variance)
    return Gaussian(to_mean(x0, x, t, schedule), chosen)


def fixed_variance(t: Tensor, x: Tensor, schedule: Schedule, choice: FixedVariance) -> Tensor:
    """One of Ho's two variances of the reverse step, (b, 1, ...).

    At t = 0 the posterior's is 0, which no density survives: it takes that of t = 1, as Ho's code does.
    Source: Ho et al. 2020, section 3.2.
    """
    if choice not in ("posterior", "beta"):
        raise ValueError(f"variance must be 'posterior', 'beta' or a function of (x, t), got {choice!r}")
    if choice == "beta" or schedule.num_timesteps == 1:
        return _alike(x, at(schedule.betas, t, x))[1]
    return _alike(x, _posterior_coefficients(t.clamp(min=1), x, schedule)[2])[1]


def ancestral_sampling(
    network: Network,
    x: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    variance: ReverseVariance = "posterior",
) -> Iterator[Tensor]:
    """Algorithm 2 as printed: from noise x to data through every timestep, without noise after the last.

    Shapes: x (b, ...), standard normal. Yields (b, ...) after each of the T steps, the data last.
    Source: Ho et al. 2020, algorithm 2.
    """
    for timestep in reversed(range(schedule.num_timesteps)):
        t = torch.full((len(x),), timestep, device=x.device)
        step = reverse(predict_x0(network, x, t, schedule), x, t, schedule, variance)
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
        x = step.sample(z) if timestep > 0 else step.mean
        yield x


# --- Small tools ---------------------------------------------------------------------------------------


def at(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """table[t] as (b, 1, ...), so that it broadcasts over x, on x's device and in the table's dtype.

    Raises: ValueError if a t is outside the table (on a GPU the device's own index check answers instead:
    looking at t from here would stall it).
    """
    if t.device.type == "cpu" and t.numel() > 0 and not 0 <= int(t.min()) <= int(t.max()) < len(table):
        raise ValueError(f"t must be in 0..{len(table) - 1}, got {int(t.min())} to {int(t.max())}")
    return table[t.to(table.device)].to(x.device).view(-1, *[1] * (x.ndim - 1))


def amplitudes(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """How much signal and how much noise a level holds: sqrt(alpha_bar), sqrt(1 - alpha_bar). Shape kept."""
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def _alike(x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """All of them in x's dtype, or in float32 where x has less."""
    # said for each: a level without dimensions would not widen a half-precision answer by promotion
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.to(dtype), *(other.to(dtype) for other in others)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0: in value and in gradient."""
    return (numerator / denominator.where(denominator > 0, 1)).where(denominator > 0, 0)


def _same(prediction: Tensor, kind: Prediction, wanted: Prediction) -> Tensor:
    """The prediction itself. Raises: ValueError if it is not of the wanted kind."""
    if kind != wanted:
        raise ValueError(f"a prediction is one of 'eps', 'v' and 'x0', got {kind!r}")
    return prediction
