"""The bound on Gaussian data, where the true likelihood and every term are known exactly.

Expectations are exact too. Every term is quadratic in x0 and in the noise, and the mean of a quadratic under a
standard normal is its mean over the two points -1 and +1: a batch of four points (x0, noise) is the whole
distribution.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.likelihood import (
    bits_per_dim,
    bound_term,
    bound_weight,
    entropy,
    entropy_terms,
    kl,
    negative_log_density,
    negative_log_mass,
    prior_term,
    rate_distortion,
    simple_loss,
    variational_bound,
)
from models.process import Gaussian, at, fixed_variance, q_sample, reverse, to_eps, to_v
from models.schedule import Schedule, cosine_schedule, linear_schedule, rescale_zero_terminal_snr

CORNERS = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]], dtype=torch.float64)
NOISE = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]], dtype=torch.float64)


class GaussianData:
    """N(mean, variance), its exact denoiser as a network, and the exact variance of its reverse process."""

    def __init__(self, mean: float, variance: float, schedule: Schedule):
        self.mean, self.variance, self.schedule = mean, variance, schedule
        self.x0 = mean + math.sqrt(variance) * CORNERS  # (4, 1), with NOISE the whole joint distribution

    def denoise(self, x, t):
        alpha_bar = at(self.schedule.alpha_bar, t, x)
        gain = self.variance * alpha_bar.sqrt() / (alpha_bar * self.variance + 1 - alpha_bar)
        return self.mean + gain * (x - alpha_bar.sqrt() * self.mean)

    def network(self, x, t):
        x0, alpha_bar = self.denoise(x, t), at(self.schedule.alpha_bar, t, x)
        convert = {"eps": to_eps, "v": to_v, "x0": lambda prediction, *_: prediction}[self.schedule.prediction]
        return convert(x0, x, alpha_bar, "x0")

    def reverse_variance(self, x, t):
        alpha_bar, before = at(self.schedule.alpha_bar, t, x), at(self.schedule.alpha_bar_previous, t, x)
        beta = at(self.schedule.betas, t, x)
        of_x0 = before.sqrt() * beta / (1 - alpha_bar)
        unknown = self.variance * (1 - alpha_bar) / (alpha_bar * self.variance + 1 - alpha_bar)
        return beta * (1 - before) / (1 - alpha_bar) + of_x0**2 * unknown

    def negative_log_likelihood(self) -> float:
        return entropy(self.variance, 1)

    def end_to_prior(self) -> float:
        """KL(q(x_T) || N(0, 1))."""
        alpha_bar = float(self.schedule.alpha_bar[-1])
        variance, mean = alpha_bar * self.variance + 1 - alpha_bar, math.sqrt(alpha_bar) * self.mean
        return 0.5 * (variance + mean**2 - 1 - math.log(variance))

    def bound(self, variance, network=None):
        return variational_bound(network or self.network, self.x0, self.schedule, lambda: NOISE, variance)


SCHEDULES = {
    "linear eps": linear_schedule(60, 1e-4, 0.15),
    "short x0": linear_schedule(20, 0.01, 0.2, prediction="x0"),
    "cosine v": cosine_schedule(40, prediction="v"),
    "zero terminal snr": rescale_zero_terminal_snr(linear_schedule(30, 1e-3, 0.2, prediction="v")),
}
DATA = [(0.0, 1.0), (1.5, 0.09), (-0.3, 4.0)]


@pytest.mark.parametrize(("mean", "variance"), DATA)
@pytest.mark.parametrize("name", SCHEDULES)
def test_with_the_exact_reverse_process_the_gap_is_the_distance_of_the_end_from_the_prior(name, mean, variance):
    data = GaussianData(mean, variance, SCHEDULES[name])
    gap = data.bound(data.reverse_variance).total.mean().item() - data.negative_log_likelihood()
    assert gap == pytest.approx(data.end_to_prior(), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("mean", "variance"), DATA)
@pytest.mark.parametrize("choice", ["posterior", "beta"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_bound_is_never_below_the_true_likelihood(name, choice, mean, variance):
    data = GaussianData(mean, variance, SCHEDULES[name])
    rounding = 1e-12  # for white noise "beta" is exact, and the bound is the likelihood
    assert data.bound(choice).total.mean().item() >= data.negative_log_likelihood() - rounding


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.5, 1.5), shift=st.floats(-0.5, 0.5), widen=st.floats(0.3, 3))
def test_no_network_and_no_variance_beats_the_exact_ones(scale, shift, widen):
    data = GaussianData(0.5, 0.5, SCHEDULES["short x0"])

    def network(x, t):
        return scale * data.denoise(x, t) + shift

    def variance(x, t):
        return widen * data.reverse_variance(x, t)

    best = data.bound(data.reverse_variance).total.mean().item()
    assert data.bound(variance, network).total.mean().item() >= best - 1e-12


def test_each_of_the_fixed_variances_is_exact_for_its_kind_of_data():
    schedule = linear_schedule(50, 1e-3, 0.1)
    white = GaussianData(0.0, 1.0, schedule)
    assert white.bound("beta").total.mean().item() == pytest.approx(white.negative_log_likelihood(), rel=1e-9)
    point = GaussianData(0.7, 1e-8, schedule)
    terms = point.bound("posterior").terms[:, 1:]
    assert terms.abs().max().item() < 1e-5


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_term_is_the_kl_between_two_known_gaussians(name):
    """Term by term in closed form: the mean and variance of the posterior against those of the reverse step."""
    schedule = SCHEDULES[name]
    data = GaussianData(0.4, 0.6, schedule)
    bound = data.bound(data.reverse_variance)
    betas, levels, before = schedule.betas, schedule.alpha_bar, schedule.alpha_bar_previous
    for t in range(1, schedule.num_timesteps):
        of_x0 = before[t].sqrt() * betas[t] / (1 - levels[t])
        posterior_variance = betas[t] * (1 - before[t]) / (1 - levels[t])
        total = levels[t] * data.variance + 1 - levels[t]
        unknown = data.variance * (1 - levels[t]) / total  # Var(x0 | x_t), the same for every x_t
        variance = posterior_variance + of_x0**2 * unknown
        # E |mean_q - mean_p|^2 = of_x0^2 Var(x0 | x_t): so only the logarithm is left
        assert bound.terms[:, t].mean().item() == pytest.approx(
            0.5 * math.log(variance / posterior_variance), rel=1e-6, abs=1e-12
        )
    first = betas[0] * data.variance / ((1 - betas[0]) * data.variance + betas[0])
    assert bound.reconstruction.mean().item() == pytest.approx(entropy(float(first), 1), rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_prior_term_measures_what_is_left_of_the_image(name):
    schedule = SCHEDULES[name]
    alpha_bar = float(schedule.alpha_bar[-1])
    x0 = torch.tensor([[0.5, -2.0]], dtype=torch.float64)
    expected = sum(0.5 * (alpha_bar * v**2 - alpha_bar - math.log(1 - alpha_bar)) for v in (0.5, -2.0))
    assert prior_term(x0, schedule).item() == pytest.approx(expected, rel=1e-9, abs=1e-15)


# --- Sohl-Dickstein's arrangement ---------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["posterior", "beta"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_k_is_the_bound_with_a_first_step_that_ends_in_the_prior(name, choice):
    """K replaces p(x0 | x_first) by q(x_first | x0) p(x0) / p(x_first); at unit variance all else is the same."""
    schedule = SCHEDULES[name]
    data = GaussianData(0.0, 1.0, schedule)
    bound = data.bound(choice)
    x_first = q_sample(data.x0, torch.zeros(4, dtype=torch.long), NOISE, schedule)
    standard = Gaussian(torch.zeros(4, 1), torch.ones(4, 1))
    given_x0 = Gaussian((1 - schedule.betas[0]).sqrt() * data.x0, schedule.betas[0])
    edge = (
        negative_log_density(x_first, given_x0)
        + negative_log_density(data.x0, standard)
        - negative_log_density(x_first, standard)
    )
    with_edge = bound.total - bound.reconstruction + edge
    K = entropy_terms(bound, schedule, dims=1).K.mean().item()
    assert pytest.approx(-with_edge.mean().item(), rel=1e-9) == K


def test_k_reaches_the_log_likelihood_of_white_noise():
    data = GaussianData(0.0, 1.0, SCHEDULES["linear eps"])
    terms = entropy_terms(data.bound("beta"), data.schedule, dims=1)
    assert terms.K.mean().item() == pytest.approx(-data.negative_log_likelihood(), rel=1e-9)
    assert terms.prior > terms.randomisation > terms.first_step


# --- Training objectives ------------------------------------------------------------------------------


def test_l_simple_is_the_mean_squared_error_of_the_prediction():
    schedule = linear_schedule()
    x0, eps = torch.ones(2, 3), torch.full((2, 3), 2.0)
    t = torch.tensor([0, 500])
    assert simple_loss(lambda _x, _t: torch.full((2, 3), 5.0), x0, t, eps, schedule).tolist() == [9.0, 9.0]
    perfect = GaussianData(1.0, 0.0, schedule)
    # noise that the denoiser of a single point knows exactly
    assert simple_loss(perfect.network, x0.double(), t, eps.double(), schedule).max().item() < 1e-20


@pytest.mark.parametrize("timestep", [1, 10, 59])
def test_the_bound_weighs_the_squared_error_of_eps_as_printed_in_the_paper(timestep):
    schedule = SCHEDULES["linear eps"]
    generator = torch.Generator().manual_seed(0)
    x0, eps, wrong = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    t = torch.full((5,), timestep)
    x = q_sample(x0, t, eps, schedule)
    alpha_bar = at(schedule.alpha_bar, t, x)
    x0_predicted = (x - (1 - alpha_bar).sqrt() * wrong) / alpha_bar.sqrt()
    term = bound_term(reverse(x0_predicted, x, t, schedule), x0, x, t, schedule)
    weight = bound_weight(t, schedule, fixed_variance(t, t.double(), schedule, "posterior"))
    torch.testing.assert_close(term, weight * (eps - wrong).square().sum(1))


# --- Decoders, units, rate and distortion -------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(mean=st.floats(-1.2, 1.2), std=st.floats(0.02, 2))
def test_the_eight_bit_decoder_shares_out_all_its_probability(mean, std):
    pixels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1)[:, None]
    p = Gaussian(torch.full_like(pixels, mean), torch.full_like(pixels, std**2))
    masses = (-negative_log_mass(pixels, p)).exp()
    assert masses.sum().item() == pytest.approx(1, abs=1e-9)


def test_the_eight_bit_decoder_is_the_density_times_the_bin_where_that_is_smooth():
    x = torch.tensor([[1 / 255]], dtype=torch.float64)
    p = Gaussian(torch.full_like(x, 0.1), torch.full_like(x, 0.25))
    expected = negative_log_density(x, p).item() - math.log(2 / 255)
    assert negative_log_mass(x, p).item() == pytest.approx(expected, rel=1e-4)


def test_the_bound_takes_the_eight_bit_decoder():
    data = GaussianData(0.0, 0.25, SCHEDULES["short x0"])
    density = data.bound("beta")
    mass = variational_bound(data.network, data.x0, data.schedule, lambda: NOISE, "beta", "eight_bit")
    assert torch.equal(mass.terms[:, 1:], density.terms[:, 1:])
    step = mass.reconstruction - density.reconstruction
    torch.testing.assert_close(step, torch.full((4,), -math.log(2 / 255), dtype=torch.float64), rtol=1e-3, atol=0)


def test_kl_is_zero_between_equals_and_sums_over_dimensions():
    p = Gaussian(torch.zeros(2, 3, 4), torch.ones(2, 1, 1))
    q = Gaussian(torch.ones(2, 3, 4), torch.ones(2, 1, 1))
    assert kl(p, p).tolist() == [0, 0]
    assert kl(q, p).tolist() == [6, 6]  # 12 dimensions, half a nat each


def test_bits_per_dim_are_nats_over_dims_and_log_2():
    assert bits_per_dim(torch.tensor([12 * math.log(2)]), dims=4).item() == pytest.approx(3)


def test_rate_and_distortion_start_at_the_prior_and_end_with_all_but_the_reconstruction():
    data = GaussianData(0.0, 0.25, SCHEDULES["linear eps"])
    bound = data.bound(data.reverse_variance)
    rate, distortion = rate_distortion(bound, dims=1)
    assert rate[-1].item() == pytest.approx(bits_per_dim(bound.prior, 1).mean().item())
    everything = bound.total - bound.reconstruction
    assert rate[0].item() == pytest.approx(bits_per_dim(everything, 1).mean().item())
    assert bool((rate.diff() <= 0).all()), "knowing a cleaner x costs more bits"
    assert bool((distortion.diff() >= 0).all()), "and leaves less to guess"
    level = data.schedule.alpha_bar
    unknown = 0.25 * (1 - level) / (level * 0.25 + 1 - level)
    torch.testing.assert_close(distortion, unknown.sqrt())


def test_terms_of_different_kinds_do_not_mix():
    x = torch.zeros(2, 1)
    schedule = linear_schedule()
    t = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"t must be all zero or without zeros, got \[0, 1\]"):
        bound_term(reverse(x, x, t, schedule), x, x, t, schedule)
