"""What holds for every sampler: the table, its start, mixed batches, and what may be asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.process import to_x0
from models.sampling import SAMPLERS, SamplerOptions, SamplingPlan, advance, make_plan, start_of_strength
from models.schedule import Schedule, cosine_schedule, rescale_zero_terminal_snr, scaled_linear_schedule

SCHEDULE = scaled_linear_schedule()


def network(x, timesteps):
    """A stand-in with everything a real one has: it depends on x and on t, and is not linear."""
    return torch.tanh(x + timesteps.view(-1, 1, 1, 1) / 500)


def run(plans: list[SamplingPlan], x: torch.Tensor, zs: torch.Tensor) -> list[torch.Tensor]:
    """Rows with plans of their own in one batch; a row that is done leaves. zs (n, b, c, h, w)."""
    finished: dict[int, torch.Tensor] = {}
    x0_previous = torch.zeros_like(x)
    rows, step = list(range(len(plans))), 0
    while rows:
        timesteps = torch.stack([plans[row].timesteps[step] for row in rows]).float()
        levels = torch.stack([plans[row].levels[step] for row in rows]).view(-1, 1, 1, 1)
        coefficients = torch.stack([plans[row].coefficients[step] for row in rows])
        x0 = to_x0(network(x, timesteps), x, levels, "eps")
        x, x0_previous = advance(x, x0, x0_previous, zs[step, rows], coefficients), x0
        step += 1
        staying = [k for k, row in enumerate(rows) if step < plans[row].num_steps]
        finished |= {row: x[k] for k, row in enumerate(rows) if k not in staying}
        x, x0_previous, rows = x[staying], x0_previous[staying], [rows[k] for k in staying]
    return [finished[row] for row in range(len(plans))]


def test_rows_of_different_samplers_in_one_batch_are_what_each_is_alone():
    asked = [
        ("ddim", 7, 0, SamplerOptions(eta=0.5)),
        ("ddpm", 12, 0, SamplerOptions()),
        ("euler", 5, 2, SamplerOptions(karras=True)),
        ("euler_ancestral", 9, 0, SamplerOptions()),
        ("dpmpp_2m", 20, 0, SamplerOptions(spacing="trailing")),
        ("dpmpp_2m_sde", 20, 13, SamplerOptions(karras=True)),
        ("lcm", 4, 0, SamplerOptions()),
    ]
    plans = [make_plan(name, SCHEDULE, num_steps, start, options) for name, num_steps, start, options in asked]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(plans), 4, 8, 8, generator=generator)
    zs = torch.randn(20, len(plans), 4, 8, 8, generator=generator)
    together = run(plans, x, zs)
    for row, plan in enumerate(plans):
        (alone,) = run([plan], x[row : row + 1], zs[:, row : row + 1])
        assert torch.equal(together[row], alone), asked[row]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_start_keeps_the_grid_and_looks_back_at_nothing(name):
    whole, rest = make_plan(name, SCHEDULE, 20), make_plan(name, SCHEDULE, 20, start=8)
    assert rest.num_steps == 12
    assert torch.equal(rest.timesteps, whole.timesteps[8:])
    assert torch.equal(rest.levels, whole.levels[8:])
    assert rest.coefficients[0, 2] == 0
    # from its second step on it is the same table: only the look back is gone
    assert torch.equal(rest.coefficients[1:], whole.coefficients[9:])


def test_a_multistep_table_is_not_merely_cut_where_the_image_starts():
    whole, rest = make_plan("dpmpp_2m", SCHEDULE, 20), make_plan("dpmpp_2m", SCHEDULE, 20, start=8)
    assert whole.coefficients[8, 2] < 0
    assert not torch.equal(rest.coefficients[0], whole.coefficients[8])


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=st.sampled_from(sorted(SAMPLERS)))
def test_any_plan_that_may_be_asked_for_is_sound(data, name):
    schedule: Schedule = data.draw(
        st.sampled_from(
            [
                SCHEDULE,
                scaled_linear_schedule(7),
                cosine_schedule(100, prediction="v"),
                rescale_zero_terminal_snr(scaled_linear_schedule(prediction="v")),
            ]
        )
    )
    sampler = SAMPLERS[name]
    num_steps = data.draw(st.integers(1, min(sampler.bound(schedule.num_timesteps), 120)))
    start = data.draw(st.integers(0, num_steps - 1))
    options = SamplerOptions(
        spacing=data.draw(st.sampled_from([None, "leading", "trailing", "linspace"])),
        steps_offset=data.draw(st.integers(0, 2)),
        set_alpha_to_one=data.draw(st.booleans()),
        eta=data.draw(st.floats(0, 1)) if sampler.takes_eta else 0.0,
        karras=data.draw(st.booleans()) if sampler.takes_karras else False,
    )
    plan = make_plan(name, schedule, num_steps, start, options)
    assert plan.num_steps == num_steps - start
    assert 0 <= plan.timesteps.min() <= plan.timesteps.max() <= schedule.num_timesteps - 1
    assert bool((plan.levels.diff() >= 0).all()), "noise must not rise"
    assert 0 <= plan.levels[0] < 1
    assert 0.99 * (1 - plan.levels[0]) <= plan.init_scale**2 <= 1
    assert bool((plan.coefficients[:, 3] >= 0).all())
    if plan.levels[-1] == 1:
        assert plan.coefficients[-1, 2] == 0
        assert plan.coefficients[-1, 3] == 0


@pytest.mark.parametrize("name", ["ddim", "ddpm", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde"])
def test_a_network_that_knows_the_image_is_believed(name):
    """With x0 always right, every step lands on the marginal of its level: signal a sqrt, variance kept."""
    plan = make_plan(name, SCHEDULE, 20)
    signal, variance = plan.levels[0].sqrt(), 1 - plan.levels[0]
    for i in range(plan.num_steps):
        a, b, c, d = plan.coefficients[i]
        signal, variance = a * signal + b + c, a**2 * variance + d**2
        torch.testing.assert_close(signal, plan.levels[i + 1].sqrt(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(variance, 1 - plan.levels[i + 1], rtol=1e-9, atol=1e-12)


def test_a_plan_knows_which_steps_need_noise():
    assert not any(make_plan("ddim", SCHEDULE, 5).needs_noise)
    assert not any(make_plan("dpmpp_2m", SCHEDULE, 5).needs_noise)
    for name in ("ddpm", "euler_ancestral", "dpmpp_2m_sde", "lcm"):
        assert make_plan(name, SCHEDULE, 5).needs_noise == (True, True, True, True, False)
    assert all(make_plan("ddim", SCHEDULE, 5, options=SamplerOptions(eta=1)).needs_noise[:-1])


@pytest.mark.parametrize(
    ("name", "num_steps", "start", "options", "message"),
    [
        ("plms", 20, 0, {}, "sampler must be one of ddim, ddpm, .*, lcm, got 'plms'"),
        ("ddim", 0, 0, {}, "num_steps of ddim must be 1 to 1000, got 0"),
        ("ddim", 1001, 0, {}, "num_steps of ddim must be 1 to 1000, got 1001"),
        ("lcm", 51, 0, {}, "num_steps of lcm must be 1 to 50, got 51"),
        ("ddim", 20, 20, {}, "start must be 0 to 19 of 20 steps, got 20"),
        ("ddim", 20, -1, {}, "start must be 0 to 19"),
        ("ddpm", 20, 0, {"eta": 0.5}, "eta is only for ddim, got 0.5 with ddpm"),
        ("lcm", 4, 0, {"karras": True}, "karras is only for euler, .*, dpmpp_2m_sde, got it with lcm"),
        ("ddim", 20, 0, {"eta": 1.5}, "eta must be 0 to 1, got 1.5"),
        ("ddim", 20, 0, {"eta": float("nan")}, "eta must be 0 to 1, got nan"),
        ("ddim", 20, 0, {"steps_offset": -1}, "steps_offset must be 0 or more, got -1"),
        ("ddim", 20, 0, {"spacing": "even"}, "spacing must be one of"),
    ],
)
def test_what_cannot_be_planned_is_said(name, num_steps, start, options, message):
    with pytest.raises(ValueError, match=message):
        make_plan(name, SCHEDULE, num_steps, start, SamplerOptions(**options))


def test_a_table_that_does_not_fit_is_no_plan():
    plan = make_plan("dpmpp_2m", SCHEDULE, 4)
    with pytest.raises(ValueError, match=r"levels must be \(5,\) float64, got \(4,\)"):
        SamplingPlan(plan.timesteps, plan.levels[1:], 1.0, plan.coefficients)
    with pytest.raises(ValueError, match="first step of a plan has c = 0"):
        SamplingPlan(plan.timesteps[1:], plan.levels[1:], 1.0, plan.coefficients[1:])
    with pytest.raises(ValueError, match="coefficients must be finite"):
        SamplingPlan(plan.timesteps, plan.levels, 1.0, plan.coefficients / 0)
    with pytest.raises(ValueError, match="at least one step"):
        SamplingPlan(plan.timesteps[:0], plan.levels[:1], 1.0, plan.coefficients[:0])


@pytest.mark.parametrize(
    ("num_steps", "strength", "steps_run"), [(20, 1.0, 20), (20, 0.75, 15), (20, 0.01, 1), (1, 0.5, 1)]
)
def test_strength_says_how_many_steps_run(num_steps, strength, steps_run):
    start = start_of_strength(num_steps, strength)
    assert make_plan("ddim", SCHEDULE, num_steps, start).num_steps == steps_run


@pytest.mark.parametrize("strength", [0, -0.1, 1.01, float("nan")])
def test_strength_outside_its_range_is_refused(strength):
    with pytest.raises(ValueError, match="strength must be above 0 and at most 1"):
        start_of_strength(20, strength)


def test_advance_is_float32_whatever_the_network_answers():
    half = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    coefficients = torch.tensor([[0.3, 0.7, 0.0, 0.1], [1.0, 0.0, -0.2, 0.0]], dtype=torch.float64)
    result = advance(half, half, half, half, coefficients)
    assert result.dtype == torch.float32
    expected = half.float() * coefficients.sum(1).float().view(-1, 1, 1, 1)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
