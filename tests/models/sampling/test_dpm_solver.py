"""DPM-Solver++ 2M: where it looks back, and what it is where it does not."""

import pytest
import torch

from models.sampling import SamplerOptions, make_plan
from models.sampling.ddim import ddim_coefficients
from models.sampling.dpm_solver import dpm_solver_coefficients
from models.schedule import scaled_linear_schedule

SCHEDULE = scaled_linear_schedule()


@pytest.mark.parametrize(("name", "eta"), [("dpmpp_2m", 0.0), ("dpmpp_2m_sde", 1.0)])
def test_its_first_and_last_steps_are_those_of_ddim(name, eta):
    """Song's DDIM is the solver of first order, for the flow (eta 0) and for the SDE (eta 1)."""
    plan = make_plan(name, SCHEDULE, 20)
    ddim = ddim_coefficients(plan.levels, eta)
    torch.testing.assert_close(plan.coefficients[0], ddim[0])
    torch.testing.assert_close(plan.coefficients[-1], ddim[-1])


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_all_steps_between_look_back_and_weigh_the_same_in_sum(name):
    plan = make_plan(name, SCHEDULE, 20, options=SamplerOptions(karras=True))
    first_order = ddim_coefficients(plan.levels, 0.0 if name == "dpmpp_2m" else 1.0)
    assert bool((plan.coefficients[1:-1, 2] < 0).all())
    torch.testing.assert_close(plan.coefficients[:, 1] + plan.coefficients[:, 2], first_order[:, 1])
    torch.testing.assert_close(plan.coefficients[:, [0, 3]], first_order[:, [0, 3]])


def test_a_step_to_a_level_above_zero_noise_looks_back_even_if_it_is_the_last():
    levels = torch.tensor([0.01, 0.1, 0.5, 0.9], dtype=torch.float64)
    assert bool((dpm_solver_coefficients(levels, stochastic=False)[1:, 2] < 0).all())


def test_its_spacing_leaves_room_for_the_step_to_the_clean_image():
    assert make_plan("dpmpp_2m", SCHEDULE, 4).timesteps.tolist() == [999, 749, 500, 250]
    leading = make_plan("dpmpp_2m", SCHEDULE, 4, options=SamplerOptions("leading", steps_offset=1))
    assert leading.timesteps.tolist() == [801, 601, 401, 201]


def test_with_as_many_steps_as_timesteps_it_visits_each_once():
    for spacing in ("leading", "trailing", "linspace"):
        plan = make_plan("dpmpp_2m", scaled_linear_schedule(30), 30, options=SamplerOptions(spacing))
        assert plan.timesteps.tolist() == list(range(29, -1, -1))


def test_karras_levels_run_over_the_whole_schedule_and_are_asked_at_whole_timesteps():
    plan = make_plan("dpmpp_2m", SCHEDULE, 20, options=SamplerOptions(karras=True))
    torch.testing.assert_close(plan.levels[0], SCHEDULE.alpha_bar[-1])
    torch.testing.assert_close(plan.levels[-2], SCHEDULE.alpha_bar[0])
    assert torch.equal(plan.timesteps, plan.timesteps.round())
