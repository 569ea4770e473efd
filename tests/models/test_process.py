"""The forward process, its posterior and its reverse, on data where everything has a closed form."""

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from models.process import (
    Gaussian,
    add_noise,
    ancestral_sampling,
    at,
    fixed_variance,
    mean_to_x0,
    posterior,
    predict_x0,
    q_marginal,
    q_sample,
    q_step,
    reverse,
    snr,
    to_eps,
    to_mean,
    to_v,
    to_x0,
    training_target,
)
from models.schedule import cosine_schedule, linear_schedule, rescale_zero_terminal_snr, scaled_linear_schedule

CONVERSIONS = {"x0": to_x0, "eps": to_eps, "v": to_v}
SCHEDULES = {
    "linear": linear_schedule(1000),
    "scaled_linear": scaled_linear_schedule(1000),
    "cosine": cosine_schedule(1000),
    "zero_terminal_snr": rescale_zero_terminal_snr(scaled_linear_schedule(1000, prediction="v")),
}


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def times(*timesteps):
    return torch.tensor(timesteps)


# --- Forward ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_closed_form_is_what_the_single_steps_come_to(name):
    schedule = SCHEDULES[name]
    x0 = torch.tensor([[1.7]], dtype=torch.float64)
    mean, variance = x0, torch.zeros(1, 1, dtype=torch.float64)
    for timestep in range(schedule.num_timesteps):
        t = times(timestep)
        step = q_step(mean, t, schedule)
        keeps = 1 - at(schedule.betas, t, x0)
        mean, variance = step.mean, keeps * variance + step.variance
        marginal = q_marginal(x0, t, schedule)
        torch.testing.assert_close(marginal.mean, mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(marginal.variance, variance, rtol=1e-9, atol=1e-12)


def test_a_simulated_walk_arrives_where_the_closed_form_says():
    schedule = linear_schedule(100, 1e-3, 0.05)
    x0 = torch.full((20_000, 1), 1.5)
    x, t_last = x0, torch.full((20_000,), 99)
    for timestep in range(100):
        x = q_step(x, torch.full((20_000,), timestep), schedule).sample(noise(20_000, 1, seed=timestep))
    end = q_marginal(x0, t_last, schedule)
    assert x.mean().item() == pytest.approx(end.mean[0].item(), abs=0.03)
    assert x.var().item() == pytest.approx(end.variance[0].item(), rel=0.04)
    jump = q_sample(x0, t_last, noise(20_000, 1, seed=7), schedule)
    assert jump.mean().item() == pytest.approx(x.mean().item(), abs=0.04)
    assert jump.var().item() == pytest.approx(x.var().item(), rel=0.05)


def test_q_sample_is_diffusers_add_noise():
    schedule, oracle = scaled_linear_schedule(), DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    x0, eps, t = noise(4, 4, 8, 8), noise(4, 4, 8, 8, seed=1), times(0, 10, 500, 999)
    torch.testing.assert_close(q_sample(x0, t, eps, schedule), oracle.add_noise(x0, eps, t), rtol=1e-5, atol=1e-6)
    v_schedule = scaled_linear_schedule(prediction="v")
    torch.testing.assert_close(
        training_target(x0, eps, t, v_schedule), oracle.get_velocity(x0, eps, t), rtol=1e-5, atol=1e-6
    )


def test_a_sample_is_the_mean_and_as_many_standard_deviations_as_the_noise_says():
    z = torch.tensor([[0.0, 1.0, -2.0]])
    sample = Gaussian(torch.tensor([[5.0, 5.0, 5.0]]), torch.tensor([[9.0]])).sample(z)
    assert sample.tolist() == [[5, 8, -1]]


def test_each_row_has_its_own_timestep():
    schedule = linear_schedule()
    x0, eps = noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=1)
    both = q_sample(x0, times(3, 700), eps, schedule)
    assert torch.equal(both[1:], q_sample(x0[1:], times(700), eps[1:], schedule))


@pytest.mark.parametrize("bad", [-1, 1000])
def test_a_timestep_outside_the_schedule_is_refused(bad):
    x = noise(2, 3)
    with pytest.raises(ValueError, match=r"t must be in 0\.\.999, got"):
        posterior(x, x, times(5, bad), linear_schedule())


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timestep", [1, 2, 500, 999])
def test_the_posterior_is_bayes_rule(name, timestep):
    """q(x_{t-1} | x_t, x0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x0): precisions add up."""
    schedule = SCHEDULES[name]
    x0, x = noise(1, 5, dtype=torch.float64), noise(1, 5, seed=1, dtype=torch.float64)
    before = q_marginal(x0, times(timestep - 1), schedule)
    beta = schedule.betas[timestep]
    precision = 1 / before.variance + (1 - beta) / beta
    mean = (before.mean / before.variance + (1 - beta).sqrt() / beta * x) / precision
    result = posterior(x0, x, times(timestep), schedule)
    torch.testing.assert_close(result.variance, 1 / precision)
    torch.testing.assert_close(result.mean, mean)


def test_the_posterior_of_the_first_timestep_is_the_image():
    x0, x = noise(1, 5), noise(1, 5, seed=1)
    result = posterior(x0, x, times(0), linear_schedule())
    assert torch.equal(result.mean, x0)
    assert bool((result.variance == 0).all())


def test_snr_is_signal_over_noise():
    schedule = linear_schedule()
    t = times(0, 500, 999)
    expected = (schedule.alpha_bar / (1 - schedule.alpha_bar))[t].float()
    assert torch.equal(snr(t, schedule), expected)
    assert snr(times(999), SCHEDULES["zero_terminal_snr"]).item() == 0


# --- What a network may predict -----------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(level=st.floats(1e-4, 1 - 1e-4), kind=st.sampled_from(["eps", "v", "x0"]))
def test_every_kind_of_prediction_converts_into_every_other(level, kind):
    alpha_bar = torch.tensor(level, dtype=torch.float64)
    truth = {"x0": noise(2, 3, dtype=torch.float64), "eps": noise(2, 3, seed=1, dtype=torch.float64)}
    x = alpha_bar.sqrt() * truth["x0"] + (1 - alpha_bar).sqrt() * truth["eps"]
    truth["v"] = alpha_bar.sqrt() * truth["eps"] - (1 - alpha_bar).sqrt() * truth["x0"]
    for wanted, convert in CONVERSIONS.items():
        torch.testing.assert_close(convert(truth[kind], x, alpha_bar, kind), truth[wanted], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("kind", CONVERSIONS)
def test_conversions_are_finite_at_pure_noise_and_at_the_image(level, kind):
    x, prediction = noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=1).requires_grad_()
    alpha_bar = torch.full((2, 1, 1, 1), level)
    for convert in CONVERSIONS.values():
        result = convert(prediction, x, alpha_bar, kind)
        assert bool(result.isfinite().all())
        (gradient,) = torch.autograd.grad(result.sum(), prediction, allow_unused=True, materialize_grads=True)
        assert bool(gradient.isfinite().all())


def test_what_is_certain_at_the_ends_is_exact_there():
    x, v = noise(2, 3), noise(2, 3, seed=1)
    assert torch.equal(to_x0(v, x, torch.tensor(0.0), "v"), -v)
    assert torch.equal(to_eps(v, x, torch.tensor(0.0), "v"), x)
    assert torch.equal(to_x0(v, x, torch.tensor(1.0), "eps"), x)
    assert bool((to_x0(v, x, torch.tensor(0.0), "eps") == 0).all())
    assert bool((to_eps(v, x, torch.tensor(1.0), "x0") == 0).all())


def test_half_precision_is_widened_before_the_arithmetic():
    x, eps = noise(2, 3).half(), noise(2, 3, seed=1).half()
    alpha_bar = torch.tensor(0.0047, dtype=torch.float64)
    result = to_x0(eps, x, alpha_bar, "eps")
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, to_x0(eps.float(), x.float(), alpha_bar, "eps"))
    assert add_noise(x, eps, alpha_bar).dtype == torch.float32


@pytest.mark.parametrize("convert", CONVERSIONS.values())
def test_an_unknown_kind_is_refused(convert):
    with pytest.raises(ValueError, match="one of 'eps', 'v' and 'x0', got 'score'"):
        convert(noise(1, 2), noise(1, 2), torch.tensor(0.5), "score")


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_the_training_target_is_what_stands_for_the_true_image(kind):
    schedule = scaled_linear_schedule(prediction=kind)
    x0, eps, t = noise(3, 4, dtype=torch.float64), noise(3, 4, seed=1, dtype=torch.float64), times(0, 400, 999)
    target = training_target(x0, eps, t, schedule)
    x = q_sample(x0, t, eps, schedule)
    torch.testing.assert_close(predict_x0(lambda _x, _t: target, x, t, schedule), x0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_mean_parameterisation_converts_back(name):
    schedule = SCHEDULES[name]
    t = times(0, 1, 500, 999)
    x0, x = noise(4, 3, dtype=torch.float64), noise(4, 3, seed=1, dtype=torch.float64)
    torch.testing.assert_close(mean_to_x0(to_mean(x0, x, t, schedule), x, t, schedule), x0)


def test_the_mean_of_a_predicted_eps_is_the_one_printed_in_the_paper():
    schedule = linear_schedule()
    x, eps, t = noise(3, 4, dtype=torch.float64), noise(3, 4, seed=1, dtype=torch.float64), times(1, 500, 999)
    beta, alpha_bar = schedule.betas[t][:, None], schedule.alpha_bar[t][:, None]
    printed = (x - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
    torch.testing.assert_close(to_mean(to_x0(eps, x, alpha_bar, "eps"), x, t, schedule), printed)


# --- Reverse ------------------------------------------------------------------------------------------


def test_both_fixed_variances_are_those_of_the_paper():
    schedule = linear_schedule()
    t, x = times(0, 1, 500, 999), noise(4, 2, dtype=torch.float64)
    beta, alpha_bar, before = schedule.betas[t], schedule.alpha_bar[t], schedule.alpha_bar_previous[t]
    expected = (1 - before) / (1 - alpha_bar) * beta
    expected[0] = expected[1]  # a variance of 0 at the first timestep would leave no density
    torch.testing.assert_close(fixed_variance(t, x, schedule, "beta").flatten(), beta)
    torch.testing.assert_close(fixed_variance(t, x, schedule, "posterior").flatten(), expected)
    with pytest.raises(ValueError, match="'posterior', 'beta' or a function of"):
        fixed_variance(t, x, schedule, "small")


def test_the_reverse_step_takes_a_learned_variance_for_every_dimension():
    x, t = noise(2, 3), times(5, 6)
    learned = noise(2, 3, seed=1).exp()
    step = reverse(x, x, t, linear_schedule(), lambda _x, _t: learned)
    assert torch.equal(step.variance, learned)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_algorithm_2_with_the_exact_reverse_process_draws_the_data(prediction):
    """Data N(2, 0.25): the best denoiser is linear, and the reverse step is exactly Gaussian."""
    schedule = linear_schedule(60, 1e-3, 0.3, prediction=prediction)
    mean, variance = 2.0, 0.25

    def denoise(x, t):
        alpha_bar = at(schedule.alpha_bar, t, x)
        return mean + variance * alpha_bar.sqrt() / (alpha_bar * variance + 1 - alpha_bar) * (
            x - alpha_bar.sqrt() * mean
        )

    def network(x, t):
        return CONVERSIONS[prediction](denoise(x, t), x, at(schedule.alpha_bar, t, x), "x0")

    def exact_variance(x, t):
        alpha_bar, before = at(schedule.alpha_bar, t, x), at(schedule.alpha_bar_previous, t, x)
        beta = at(schedule.betas, t, x)
        of_x0 = before.sqrt() * beta / (1 - alpha_bar)
        unknown = variance * (1 - alpha_bar) / (alpha_bar * variance + 1 - alpha_bar)
        return beta * (1 - before) / (1 - alpha_bar) + of_x0**2 * unknown

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    *_, samples = ancestral_sampling(network, x, schedule, generator, exact_variance)
    # the last step shows its mean without noise, so a little variance is missing by design
    missing = exact_variance(x[:1], times(0)).item()
    assert samples.mean().item() == pytest.approx(mean, abs=0.02)
    assert samples.var().item() == pytest.approx(variance - missing, rel=0.04)


def test_algorithm_2_adds_no_noise_after_its_last_step():
    schedule = linear_schedule(1, 0.3, 0.3, prediction="x0")
    image = noise(4, 2, seed=1)
    (only,) = ancestral_sampling(lambda _x, _t: image, noise(4, 2), schedule, torch.Generator().manual_seed(0), "beta")
    torch.testing.assert_close(only, image)


def test_algorithm_2_is_a_function_of_its_generator():
    def walk(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack(list(ancestral_sampling(lambda x, _t: x, noise(4, 2), linear_schedule(10), generator)))

    assert walk(1).shape == (10, 4, 2)
    assert torch.equal(walk(1), walk(1))
    assert not torch.equal(walk(1), walk(2))
