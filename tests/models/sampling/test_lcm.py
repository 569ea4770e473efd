"""Few-step sampling of consistency models."""

import pytest
import torch

from models.sampling import SAMPLERS, make_plan
from models.schedule import scaled_linear_schedule

SCHEDULE = scaled_linear_schedule()


def test_it_visits_the_timesteps_of_its_distillation():
    assert make_plan("lcm", SCHEDULE, 4).timesteps.tolist() == [999, 759, 499, 259]
    assert make_plan("lcm", SCHEDULE, 50).timesteps.tolist() == list(range(999, 0, -20))


def test_every_step_but_the_last_goes_back_into_fresh_noise_of_the_next_level():
    plan = make_plan("lcm", SCHEDULE, 4)
    expected = torch.cat([(1 - SCHEDULE.alpha_bar[[759, 499, 259]]).sqrt(), torch.zeros(1)])
    torch.testing.assert_close(plan.coefficients[:, 3], expected)


def test_a_single_step_is_the_networks_image():
    plan = make_plan("lcm", SCHEDULE, 1)
    assert plan.coefficients[0].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-8)


def test_near_the_image_the_skip_keeps_x_as_it_is():
    short = scaled_linear_schedule(4)
    a, b, _, d = make_plan("lcm", short, 4).coefficients[-1].tolist()  # at t = 0
    assert (a, b, d) == (1, 0, 0)


def test_it_publishes_its_bound():
    assert SAMPLERS["lcm"].bound(1000) == 50
    assert SAMPLERS["lcm"].bound(20) == 20
    assert SAMPLERS["ddim"].bound(1000) == 1000
    assert make_plan("lcm", scaled_linear_schedule(20), 20).num_steps == 20
