"""How well a diffusion model explains data: L_simple, and every term of the variational bound.

A sender who shares the model with a receiver can transmit x0 as: the noise x_T, then each x_{t-1} given x_t,
then x0 given the last. The bound is the length of that message,

    -log p(x0) <= KL(q(x_T | x0) || p(x_T))                                prior
               +  sum over t >= 1 of KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t))
               -  log p(x0 | x_first)                                      reconstruction (t = 0),

and `entropy_terms` arranges the same as Sohl-Dickstein's K, with entropies for the first and the last.
All lengths are in nats and summed over a data point's dimensions; `bits_per_dim` converts.

Axes: b = batch; T = timesteps; `...` = whatever a data point has.
Sources: Sohl-Dickstein et al. 2015; Ho et al. 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.process import (
    Gaussian,
    Network,
    ReverseVariance,
    at,
    posterior,
    predict_x0,
    q_marginal,
    q_sample,
    reverse,
    training_target,
)
from models.schedule import Schedule

Draw = Callable[[], Tensor]
"""Fresh standard normal noise, (b, ...), from the caller's generators."""

Decoder = Literal["density", "eight_bit"]
"""What x0 is: a point of a continuous space, or pixels of 256 values in [-1, 1]."""


# --- Training ------------------------------------------------------------------------------------------


def simple_loss(network: Network, x0: Tensor, t: Tensor, noise: Tensor, schedule: Schedule) -> Tensor:
    """L_simple of Algorithm 1: the mean squared error of the network's answer, in its own kind.

    Shapes: x0, noise (b, ...); t (b,). Returns (b,).
    Source: Ho et al. 2020, eq. 14.
    """
    answer = network(q_sample(x0, t, noise, schedule), t)
    return (training_target(x0, noise, t, schedule) - answer).square().flatten(1).mean(1)


def bound_weight(t: Tensor, schedule: Schedule, variance: Tensor) -> Tensor:
    """What the bound multiplies ||eps - eps_theta||^2 with, where L_simple has 1: (b,) and (b,) to (b,).

    Source: Ho et al. 2020, eq. 12.
    """
    beta, alpha_bar = at(schedule.betas, t, t), at(schedule.alpha_bar, t, t)
    return beta**2 / (2 * variance * (1 - beta) * (1 - alpha_bar))


# --- Between Gaussians ---------------------------------------------------------------------------------


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, summed over dimensions: (b, ...) to (b,)."""
    ratio = q.variance / p.variance
    per_dim = 0.5 * (ratio - 1 - ratio.log() + (q.mean - p.mean) ** 2 / p.variance)
    return per_dim.expand_as(q.mean).flatten(1).sum(1)


def entropy(variance: float, dims: int) -> float:
    """Entropy in nats of a Gaussian with the same variance in each of `dims` dimensions."""
    return dims / 2 * math.log(2 * math.pi * math.e * variance)


def negative_log_density(x: Tensor, p: Gaussian) -> Tensor:
    """-log p(x) in nats, summed over dimensions: (b, ...) to (b,)."""
    per_dim = 0.5 * ((2 * math.pi * p.variance).log() + (x - p.mean) ** 2 / p.variance)
    return per_dim.expand_as(x).flatten(1).sum(1)


def negative_log_mass(x: Tensor, p: Gaussian) -> Tensor:
    """-log of what p gives to the bins around the 8-bit pixels x in [-1, 1], summed: (b, ...) to (b,).

    Bins are 2/255 wide; the first and the last reach to infinity.
    Source: Ho et al. 2020, eq. 13.
    """
    # float64: far from the mean a bin is the difference of two numbers close to 1
    offset, std = (x - p.mean).double(), p.variance.double().sqrt()
    below = torch.special.ndtr((offset - 1 / 255) / std).where(x > -0.999, 0)
    above = torch.special.ndtr((offset + 1 / 255) / std).where(x < 0.999, 1)
    per_dim: Tensor = -(above - below).clamp(min=1e-12).log()
    return per_dim.to(p.mean.dtype).flatten(1).sum(1)


# --- The bound -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The variational bound of each data point, term by term, in nats.

    prior (b,): to transmit x_T.
    terms (b, T): terms[:, t] transmits x_{t-1} given x_t; terms[:, 0], the reconstruction, x0 itself.
    squared_errors (b, T): (x0 - its prediction from x_t)^2, mean over dimensions.
    """

    prior: Tensor
    terms: Tensor
    squared_errors: Tensor

    @property
    def reconstruction(self) -> Tensor:
        """(b,): -log p(x0 | x_first)."""
        return self.terms[:, 0]

    @property
    def total(self) -> Tensor:
        """(b,): the bound itself, at least -log p(x0) in expectation."""
        return self.prior + self.terms.sum(1)


def prior_term(x0: Tensor, schedule: Schedule) -> Tensor:
    """KL(q(x_T | x0) || N(0, I)) in nats: (b, ...) to (b,)."""
    last = torch.full((len(x0),), schedule.num_timesteps - 1, device=x0.device)
    end = q_marginal(x0, last, schedule)
    return kl(end, Gaussian(torch.zeros_like(end.mean), torch.ones_like(end.variance)))


def bound_term(
    p: Gaussian, x0: Tensor, x: Tensor, t: Tensor, schedule: Schedule, decoder: Decoder = "density"
) -> Tensor:
    """The term of the bound at each t for a reverse step p = p(x_{t-1} | x_t = x): (b,) nats.

    Shapes: x0, x (b, ...); t (b,), all zero or none.
    Raises: ValueError if t mixes the reconstruction (0) with other terms.
    """
    is_first = t == 0
    if not bool(is_first.any()):
        return kl(posterior(x0, x, t, schedule), p)
    if not bool(is_first.all()):
        raise ValueError(f"t must be all zero or without zeros, got {t.tolist()}")
    if decoder == "eight_bit":
        return negative_log_mass(x0, p)
    return negative_log_density(x0, p)


def variational_bound(
    network: Network,
    x0: Tensor,
    schedule: Schedule,
    draw: Draw,
    variance: ReverseVariance = "posterior",
    decoder: Decoder = "density",
) -> Bound:
    """Every term of the bound, each x_t drawn once from q(x_t | x0): T calls of the network.

    `variance` is one of Ho's two choices, or a function (x, t) -> variance, learned or given.
    Shapes: x0 (b, ...); draw() likewise.
    Source: Ho et al. 2020, eq. 5.
    """
    terms, squared_errors = [], []
    for timestep in range(schedule.num_timesteps):
        t = torch.full((len(x0),), timestep, device=x0.device)
        x = q_sample(x0, t, draw(), schedule)
        denoised = predict_x0(network, x, t, schedule)
        terms.append(bound_term(reverse(denoised, x, t, schedule, variance), x0, x, t, schedule, decoder))
        squared_errors.append((x0 - denoised).square().flatten(1).mean(1))
    return Bound(prior_term(x0, schedule), torch.stack(terms, 1), torch.stack(squared_errors, 1))


@dataclass(frozen=True, slots=True, eq=False)
class EntropyTerms:
    """The bound as Sohl-Dickstein arranges it: K = -reconstruction + randomisation - first_step - prior.

    reconstruction (b,): the KL terms of all t >= 1, in nats.
    randomisation: H_q(X_T | X_0), how much the forward process forgets.
    first_step: H_q(X_1 | X_0), how abruptly it begins.
    prior: H_p(X_T), the entropy of pure noise.
    """

    reconstruction: Tensor
    randomisation: float
    first_step: float
    prior: float

    @property
    def K(self) -> Tensor:  # noqa: N802 - the paper's name
        """(b,): at most log p(x0) in expectation, for data of zero mean and unit variance.

        There, and only there, the cross entropy with N(0, I) is the same H_p at every t, which the paper's
        first step p(x0 | x_first) = q(x_first | x0) p(x0) / p(x_first) relies on.
        """
        return -self.reconstruction + self.randomisation - self.first_step - self.prior


def entropy_terms(bound: Bound, schedule: Schedule, dims: int) -> EntropyTerms:
    """The terms of K for data points of `dims` dimensions.

    Source: Sohl-Dickstein et al. 2015, eq. 14.
    """
    return EntropyTerms(
        reconstruction=bound.terms[:, 1:].sum(1),
        randomisation=entropy(1 - float(schedule.alpha_bar[-1]), dims),
        first_step=entropy(float(schedule.betas[0]), dims),
        prior=entropy(1.0, dims),
    )


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Nats of a data point of `dims` dimensions as bits of each. Shape kept.

    The length of a density is relative to its unit: for 8-bit pixels as floats in [-1, 1] add log2(127.5),
    unless they were decoded as "eight_bit".
    """
    return nats / (dims * math.log(2))


def rate_distortion(bound: Bound, dims: int) -> tuple[Tensor, Tensor]:
    """What has been sent when x_t is known, and how far off x0 then is: two (T,).

    Rate in bits per dimension, distortion as root mean squared error in x0's unit; both over the batch.
    Source: Ho et al. 2020, section 4.3 and figure 5.
    """
    after = bound.terms.flip(1).cumsum(1).flip(1) - bound.terms  # (b, T): the terms of all later timesteps
    rate = bits_per_dim(bound.prior[:, None] + after, dims).mean(0)
    return rate, bound.squared_errors.mean(0).sqrt()
