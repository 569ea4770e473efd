"""DDIM and its three other names."""

import pytest
import torch

from models.process import posterior
from models.sampling import SamplerOptions, advance, make_plan
from models.schedule import rescale_zero_terminal_snr, scaled_linear_schedule

SCHEDULE = scaled_linear_schedule()


def test_ddpm_is_ddim_with_eta_1():
    ddpm = make_plan("ddpm", SCHEDULE, 20)
    ddim = make_plan("ddim", SCHEDULE, 20, options=SamplerOptions(eta=1))
    assert torch.equal(ddpm.coefficients, ddim.coefficients)


def test_ddpm_through_every_timestep_is_the_posterior_of_ho():
    plan = make_plan("ddpm", SCHEDULE, 1000)
    generator = torch.Generator().manual_seed(0)
    x, x0, z = (torch.randn(1000, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    t = plan.timesteps.long()
    assert t.tolist() == list(range(999, -1, -1))
    torch.testing.assert_close(
        advance(x, x0, torch.zeros_like(x), z, plan.coefficients), posterior(x0, x, t, SCHEDULE).sample(z)
    )


def test_euler_on_whole_timesteps_is_ddim():
    """Euler's straight lines in sigma, written in the variance-preserving scale, are DDIM's steps."""
    options = SamplerOptions("trailing")
    euler, ddim = (make_plan(name, SCHEDULE, 20, 0, options) for name in ("euler", "ddim"))
    torch.testing.assert_close(euler.coefficients, ddim.coefficients)
    ancestral = make_plan("euler_ancestral", SCHEDULE, 20, 0, options)
    torch.testing.assert_close(ancestral.coefficients, make_plan("ddpm", SCHEDULE, 20, 0, options).coefficients)


def test_euler_starts_from_sigma_times_noise_unless_spaced_as_diffusers_leads():
    linspace, leading = (make_plan("euler", SCHEDULE, 20, 0, SamplerOptions(s)) for s in ("linspace", "leading"))
    assert linspace.init_scale == pytest.approx((1 - SCHEDULE.alpha_bar[-1]).sqrt().item())
    assert leading.init_scale == 1


def test_eta_trades_the_networks_noise_for_fresh_noise_at_the_same_level():
    for eta in (0.0, 0.3, 1.0):
        plan = make_plan("ddim", SCHEDULE, 20, options=SamplerOptions(eta=eta))
        a, _, _, d = plan.coefficients.unbind(1)
        kept = a * (1 - plan.levels[:-1]).sqrt()
        torch.testing.assert_close(kept**2 + d**2, 1 - plan.levels[1:], rtol=1e-9, atol=1e-12)
        assert bool((d[:-1] > 0).all()) == (eta > 0)


def test_a_model_may_end_at_its_first_level_in_place_of_the_clean_image():
    options = SamplerOptions("leading", steps_offset=1, set_alpha_to_one=False)
    plan = make_plan("ddim", SCHEDULE, 20, 0, options)
    assert plan.levels[-1] == SCHEDULE.alpha_bar[0]
    assert make_plan("ddim", SCHEDULE, 20).levels[-1] == 1


def test_a_first_step_from_zero_signal_is_finite_and_takes_x0_from_v():
    schedule = rescale_zero_terminal_snr(scaled_linear_schedule(prediction="v"))
    plan = make_plan("ddim", schedule, 10, 0, SamplerOptions("trailing", eta=0.5))
    assert plan.levels[0] == 0
    assert plan.coefficients[0, 1].item() == pytest.approx(plan.levels[1].sqrt().item())
