"""Schedules and spacings, against their definitions and against diffusers' tables."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from models.schedule import (
    Schedule,
    Spacing,
    cosine_schedule,
    karras_sigmas,
    leading,
    level_of,
    linear_schedule,
    linspace,
    rescale_zero_terminal_snr,
    scaled_linear_schedule,
    schedule_from_betas,
    sigma_at,
    spaced_timesteps,
    timestep_at,
    trailing,
    usable_spacing,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers

T = 1000
SCHEDULES = {
    "linear": (linear_schedule(T, 1e-4, 0.02), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
    "scaled_linear": (
        scaled_linear_schedule(T, 0.00085, 0.012),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    ),
    "cosine": (cosine_schedule(T), {"beta_schedule": "squaredcos_cap_v2"}),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_tables_are_those_of_diffusers(name):
    schedule, config = SCHEDULES[name]
    oracle = DDIMScheduler(num_train_timesteps=T, **config)
    torch.testing.assert_close(schedule.betas, oracle.betas.double(), rtol=2e-6, atol=3e-8)
    # its cumulative product is taken in float32: 1 - 0.999 alone has lost three digits in the cosine's end
    torch.testing.assert_close(schedule.alpha_bar, oracle.alphas_cumprod.double(), rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_alpha_bar_is_the_product_of_what_each_step_keeps(name):
    schedule, _ = SCHEDULES[name]
    kept = 1.0
    for beta, alpha_bar in zip(schedule.betas.tolist(), schedule.alpha_bar.tolist(), strict=True):
        kept *= 1 - beta
        assert alpha_bar == pytest.approx(kept, rel=1e-12)


def test_cosine_follows_its_formula_until_its_betas_are_capped():
    schedule = cosine_schedule(T)

    def signal(time):
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    assert schedule.alpha_bar[499].item() == pytest.approx(signal(0.5) / signal(0), rel=1e-12)
    assert schedule.betas.max().item() == 0.999


def test_zero_terminal_snr_keeps_the_first_level_and_empties_the_last():
    schedule = scaled_linear_schedule(T, prediction="v")
    rescaled = rescale_zero_terminal_snr(schedule)
    oracle = DDIMScheduler(T, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
    assert rescaled.alpha_bar[-1] == 0
    assert rescaled.alpha_bar[0].item() == pytest.approx(schedule.alpha_bar[0].item(), rel=1e-12)
    torch.testing.assert_close(rescaled.alpha_bar, oracle.alphas_cumprod.double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rescaled.alpha_bar, torch.cumprod(1 - rescaled.betas, 0))
    assert bool(rescaled.sigmas.isfinite().all())


@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_zero_terminal_snr_is_for_v_only(prediction):
    with pytest.raises(ValueError, match=f"predicts 'v', got '{prediction}'"):
        rescale_zero_terminal_snr(scaled_linear_schedule(T, prediction=prediction))


def test_a_schedule_refuses_tables_that_are_none():
    betas = torch.tensor([0.1, 0.2], dtype=torch.float64)
    with pytest.raises(ValueError, match="prediction must be one of"):
        Schedule(betas, (1 - betas).cumprod(0), "noise")
    with pytest.raises(ValueError, match=r"betas must be \(T,\) float64"):
        Schedule(betas.float(), (1 - betas).cumprod(0), "eps")
    with pytest.raises(ValueError, match="2 betas do not fit 1"):
        Schedule(betas, betas[:1], "eps")
    with pytest.raises(ValueError, match=r"betas must lie in \(0, 1\], got -0.1 to 0.2"):
        schedule_from_betas(torch.tensor([-0.1, 0.2]))
    with pytest.raises(ValueError, match="ends at zero signal needs prediction 'v' or 'x0', got 'eps'"):
        schedule_from_betas(torch.tensor([0.1, 1.0]), "eps")
    with pytest.raises(ValueError, match="at least one timestep, got 0"):
        linear_schedule(0)


def test_leading_starts_at_its_offset_and_misses_the_noisiest_timesteps():
    assert leading(T, 4).tolist() == [750, 500, 250, 0]
    assert leading(T, 4, steps_offset=1).tolist() == [751, 501, 251, 1]
    assert leading(T, T, steps_offset=1).tolist() == list(range(T - 1, -1, -1))  # 1000 is no timestep


def test_trailing_starts_at_the_noisiest_timestep():
    assert trailing(T, 4).tolist() == [999, 749, 499, 249]
    assert trailing(T, 3).tolist() == [999, 666, 332]
    assert trailing(T, 1).tolist() == [999]


def test_linspace_takes_both_ends():
    assert linspace(T, 3).tolist() == [999, 499.5, 0]
    assert linspace(T, 1).tolist() == [999]


@settings(deadline=None)
@given(
    num_timesteps=st.integers(1, 1200),
    data=st.data(),
    spacing=st.sampled_from(["leading", "trailing", "linspace"]),
    offset=st.integers(0, 5),
)
def test_any_spacing_descends_within_the_schedule(num_timesteps, data, spacing: Spacing, offset):
    num_steps = data.draw(st.integers(1, num_timesteps))
    timesteps = spaced_timesteps(num_timesteps, num_steps, spacing, offset)
    assert timesteps.shape == (num_steps,)
    assert 0 <= timesteps.min() <= timesteps.max() <= num_timesteps - 1
    assert bool((timesteps.round().diff() < 0).all()), "a timestep is visited twice"


@settings(deadline=None)
@given(num_steps=st.integers(1, T))
def test_leading_gives_way_to_trailing_where_it_would_not_reach_the_noise(num_steps):
    spacing = usable_spacing(T, num_steps, "leading")
    assert spacing == ("leading" if T % num_steps == 0 else "trailing")
    largest_gap = T / num_steps
    assert spaced_timesteps(T, num_steps, "leading")[0] >= T - 1 - largest_gap


@pytest.mark.parametrize(
    ("num_steps", "spacing", "message"),
    [
        (0, "leading", "num_steps must be 1 to 1000, the schedule's length, got 0"),
        (1001, "trailing", "got 1001"),
        (10, "even", "spacing must be one of"),
    ],
)
def test_spacing_says_what_is_allowed(num_steps, spacing, message):
    with pytest.raises(ValueError, match=message):
        spaced_timesteps(T, num_steps, spacing)


def test_spacings_are_those_of_diffusers_wherever_they_may_be_used():
    divisors = [n for n in range(1, T + 1) if T % n == 0]
    for spacing, counts in (("leading", divisors), ("trailing", divisors), ("linspace", range(2, T + 1, 13))):
        oracle = DDIMScheduler(T, timestep_spacing=spacing)
        for num_steps in counts:
            oracle.set_timesteps(num_steps)
            ours = spaced_timesteps(T, num_steps, spacing).round().long()
            assert ours.tolist() == oracle.timesteps.tolist(), (spacing, num_steps)


def test_karras_sigmas_are_those_of_diffusers():
    schedule, config = SCHEDULES["scaled_linear"]
    oracle = EulerDiscreteScheduler(T, **config, use_karras_sigmas=True, timestep_spacing="linspace")
    oracle.set_timesteps(20)
    ours = karras_sigmas(schedule.sigmas[0].item(), schedule.sigmas[-1].item(), 20)
    torch.testing.assert_close(ours, oracle.sigmas[:-1].double(), rtol=2e-5, atol=0)
    torch.testing.assert_close(timestep_at(schedule, ours), oracle.timesteps.double(), rtol=0, atol=0.01)
    other = DPMSolverMultistepScheduler(T, **config, use_karras_sigmas=True)
    other.set_timesteps(20)
    assert timestep_at(schedule, ours).round().long().tolist() == other.timesteps.tolist()


@pytest.mark.parametrize("name", SCHEDULES)
def test_timestep_at_undoes_sigma_at_on_whole_timesteps(name):
    schedule, _ = SCHEDULES[name]
    timesteps = torch.tensor([999, 600, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(timestep_at(schedule, sigma_at(schedule, timesteps)), timesteps)


def test_sigma_between_two_timesteps_lies_on_the_straight_line():
    schedule, _ = SCHEDULES["linear"]
    between = sigma_at(schedule, torch.tensor([10.25], dtype=torch.float64))
    assert between.item() == pytest.approx((0.75 * schedule.sigmas[10] + 0.25 * schedule.sigmas[11]).item())


def test_timestep_at_stays_within_the_schedule():
    schedule, _ = SCHEDULES["linear"]
    beyond = torch.tensor([1e9, 1e-9], dtype=torch.float64)
    assert timestep_at(schedule, beyond).tolist() == [T - 1, 0]


def test_level_of_sigma_is_alpha_bar():
    schedule, _ = SCHEDULES["linear"]
    torch.testing.assert_close(level_of(schedule.sigmas), schedule.alpha_bar)
