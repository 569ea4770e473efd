"""How fast each sampler approaches the exact solution, on Gaussian data, where that is known.

For data N(mean, variance) the best denoiser is linear in x, the probability flow keeps every x at the same
quantile of its marginal, and the reverse SDE keeps the marginals themselves. Plans of n steps are run to the
level before their last one, which linspace and Karras spacing put at the schedule's first timestep, above zero
noise and the same for every n. Doubling n then divides the error by 2 to the power of the order.
"""

import math
from itertools import pairwise

import pytest
import torch

from models.sampling import SamplerOptions, SamplingPlan, advance, make_plan
from models.schedule import scaled_linear_schedule

SCHEDULE = scaled_linear_schedule()
MEAN, VARIANCE = 0.7, 0.25
COUNTS = (65, 129, 257)
LINSPACE, KARRAS = SamplerOptions("linspace"), SamplerOptions(karras=True)


def denoiser(level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """gain, offset of the best x0 = gain * x + offset at a level."""
    gain = VARIANCE * level.sqrt() / (level * VARIANCE + 1 - level)
    return gain, MEAN - gain * level.sqrt() * MEAN


def marginal(level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of x at a level."""
    return level.sqrt() * MEAN, level * VARIANCE + 1 - level


def error_of_flow(plan: SamplingPlan) -> float:
    """Distance of the sampler's x from the exact flow's, for a few starts."""
    x = start = torch.tensor([[1.3], [-0.4], [2.6]], dtype=torch.float64)
    x0_previous = torch.zeros_like(x)
    for i in range(plan.num_steps - 1):
        gain, offset = denoiser(plan.levels[i])
        x0 = gain * x + offset
        x, x0_previous = advance(x, x0, x0_previous, torch.zeros_like(x), plan.coefficients[i].expand(3, 4)), x0
    (mean_0, variance_0), (mean_1, variance_1) = marginal(plan.levels[0]), marginal(plan.levels[-2])
    exact = mean_1 + (variance_1 / variance_0).sqrt() * (start - mean_0)
    return (x - exact).abs().max().item()


def error_of_moments(plan: SamplingPlan) -> tuple[float, float]:
    """Distance of the sampler's mean and variance from the exact ones, over all starts and all noise."""
    mean, variance = marginal(plan.levels[0])
    state = torch.stack([mean, torch.zeros_like(mean)])  # of (x, x0_previous)
    covariance = torch.diag(torch.stack([variance, torch.zeros_like(variance)]))
    for i in range(plan.num_steps - 1):
        a, b, c, d = plan.coefficients[i]
        gain, offset = denoiser(plan.levels[i])
        step = torch.stack([torch.stack([a + b * gain, c]), torch.stack([gain, torch.zeros_like(gain)])])
        state = step @ state + torch.stack([b * offset, offset])
        covariance = step @ covariance @ step.T
        covariance[0, 0] += d**2
    mean, variance = marginal(plan.levels[-2])
    return (state[0] - mean).abs().item(), (covariance[0, 0] - variance).abs().item()


def orders(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


@pytest.mark.parametrize(
    ("name", "options", "order"),
    [
        ("ddim", LINSPACE, 1),
        ("euler", LINSPACE, 1),
        ("euler", KARRAS, 1),
        ("dpmpp_2m", KARRAS, 2),
    ],
)
def test_the_flow_is_approached_with_the_order_of_the_sampler(name, options, order):
    errors = [error_of_flow(make_plan(name, SCHEDULE, n, 0, options)) for n in COUNTS]
    assert orders(errors) == [pytest.approx(order, abs=0.1)] * 2


@pytest.mark.parametrize(
    ("name", "options", "order"),
    [("euler_ancestral", KARRAS, 1), ("dpmpp_2m_sde", KARRAS, 2)],
)
def test_the_variance_is_approached_with_the_order_of_the_sampler(name, options, order):
    errors = [error_of_moments(make_plan(name, SCHEDULE, n, 0, options))[1] for n in COUNTS]
    assert orders(errors) == [pytest.approx(order, abs=0.1)] * 2


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, LINSPACE) for name in ("ddim", "ddpm")]
    + [(name, KARRAS) for name in ("euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde")],
)
def test_the_mean_is_exact_at_any_number_of_steps(name, options):
    assert error_of_moments(make_plan(name, SCHEDULE, 6, 0, options))[0] < 1e-12


def test_ancestral_sampling_through_every_timestep_nears_the_data():
    error = error_of_moments(make_plan("ddpm", SCHEDULE, 1000))[1]
    assert error < 0.02 * VARIANCE
