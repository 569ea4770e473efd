"""Every sampler against diffusers' scheduler of the same name: the same noise, the same answers, the same x.

The network's answers are random, so that no error is smoothed away. diffusers' sigma-scaled samples are
compared as the network sees them, in the variance-preserving scale. Not compared, because diffusers disagrees
with itself there: DDIM on spacings where its t - T // n is not its next timestep, and single steps on linspace,
which it takes at t = 0.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)

from models.noise import draw_rows
from models.process import add_noise, to_x0
from models.sampling import SamplerOptions, SamplingPlan, advance, make_plan
from models.schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    rescale_zero_terminal_snr,
    scaled_linear_schedule,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = 1e-5
SHAPE = (2, 4, 4, 4)  # (b, c, h, w)

ORACLES: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "ddpm": (DDPMScheduler, {"clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "lcm": (LCMScheduler, {}),
}
SPACINGS = {"ddim": ("leading", "trailing"), "lcm": (None,)}
KARRAS = ("euler", "dpmpp_2m", "dpmpp_2m_sde")  # what diffusers has it for
KINDS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
# diffusers has no x0 prediction for Euler ancestral
PREDICTIONS = [(name, kind) for name in ORACLES for kind in KINDS if (name, kind) != ("euler_ancestral", "x0")]
MAKERS = {"linear": linear_schedule, "scaled_linear": scaled_linear_schedule, "cosine": cosine_schedule}
CONFIGS: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}


@dataclass(frozen=True)
class Case:
    """One trajectory: which sampler, on which grid, from where."""

    name: str
    num_steps: int
    start: int = 0
    options: SamplerOptions = field(default_factory=SamplerOptions)

    def oracle(self, kind: str, config: dict[str, Any]) -> Any:
        scheduler, own = ORACLES[self.name]
        config = {**config, **own, "prediction_type": KINDS[kind], "steps_offset": self.options.steps_offset}
        if self.options.spacing is not None:
            config["timestep_spacing"] = self.options.spacing
        if self.options.karras:
            config["use_karras_sigmas"] = True
        if not self.options.set_alpha_to_one:
            config["set_alpha_to_one"] = False
        return scheduler(**config)


def cases(name: str) -> list[Case]:
    """Every spacing, Karras or not, below and above the 15 steps where 2M changes, from noise and an image."""
    found = []
    for spacing in SPACINGS.get(name, ("leading", "trailing", "linspace")):
        for num_steps, start in ((5, 0), (8, 3), (20, 0), (20, 7)):
            for karras in (False, True) if name in KARRAS else (False,):
                eta = start / 10 if name == "ddim" else 0.0
                found.append(Case(name, num_steps, start, SamplerOptions(spacing, eta=eta, karras=karras)))
        if spacing == "leading":
            found.append(Case(name, 25, 0, SamplerOptions(spacing, steps_offset=1)))
    if name == "ddim":
        found.append(Case(name, 50, 0, SamplerOptions("leading", eta=1.0)))
        found.append(Case(name, 20, 0, SamplerOptions("leading", 1, set_alpha_to_one=False, eta=0.7)))
    return found


def tolerance(name: str, levels: torch.Tensor) -> float:
    """1e-5; but what diffusers' Euler leaves of its float32 in first steps from next to no signal.

    It adds, in sigma's scale, numbers of size sigma (20,000 on the cosine) to a sum of the next sigma's size,
    with four roundings.
    """
    if not name.startswith("euler"):
        return TOLERANCE
    sigma = ((1 - levels) / levels).sqrt()
    cancelled = (sigma[:-1] / (1 + sigma[1:] ** 2).sqrt()).max().item()
    return max(TOLERANCE, 4 * cancelled * torch.finfo(torch.float32).eps / 2)


def worst_error(case: Case, plan: SamplingPlan, oracle: Any, kind: str) -> float:
    """The largest difference at any step, relative to the largest value of that step's x."""
    generator = torch.Generator().manual_seed(case.num_steps)
    y0, noise, *answers = (torch.randn(SHAPE, generator=generator) for _ in range(plan.num_steps + 2))
    oracle.set_timesteps(case.num_steps)
    timesteps = oracle.timesteps[case.start :]
    if hasattr(oracle, "set_begin_index"):
        oracle.set_begin_index(case.start)
    if case.start > 0:
        theirs, x = oracle.add_noise(y0, noise, timesteps[:1].repeat(2)), add_noise(y0, noise, plan.levels[0])
    else:
        theirs, x = noise * oracle.init_noise_sigma, noise * plan.init_scale

    their_generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    our_generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    step_arguments = {"generator": their_generators}
    if case.name == "euler":
        step_arguments = {}
    if case.name == "ddim":
        step_arguments["eta"] = case.options.eta
    errors = [relative(oracle.scale_model_input(theirs, timesteps[0]), x)]
    x0_previous = torch.zeros(SHAPE)
    for i, answer in enumerate(answers):
        theirs = oracle.step(answer, timesteps[i], theirs, **step_arguments).prev_sample
        x0 = to_x0(answer, x, plan.levels[i], kind)
        z = draw_rows(our_generators, SHAPE[1:], [plan.needs_noise[i]] * 2)
        x, x0_previous = advance(x, x0, x0_previous, z, plan.coefficients[i].expand(2, 4)), x0
        is_last = i + 1 == plan.num_steps
        seen = theirs if is_last else oracle.scale_model_input(theirs, timesteps[i + 1])
        errors.append(relative(seen, x))
    return torch.tensor(errors).max().item()  # unlike max(), hands on a NaN


def relative(expected: torch.Tensor, value: torch.Tensor) -> float:
    return ((expected - value).abs().max() / expected.abs().max()).item()


def failures(
    name: str, kind: str, schedule: Schedule, config: dict[str, Any], *, same_table: bool
) -> dict[Case, float]:
    """The cases that differ from diffusers by more than the tolerance, with their error."""
    failed = {}
    for case in cases(name):
        plan = make_plan(name, schedule, case.num_steps, case.start, case.options)
        oracle = case.oracle(kind, config)
        if same_table:
            oracle.alphas_cumprod = schedule.alpha_bar
            if not case.options.set_alpha_to_one:
                oracle.final_alpha_cumprod = schedule.alpha_bar[0]
        error = worst_error(case, plan, oracle, kind)
        if not error <= tolerance(name, plan.levels):
            failed[case] = error
    return failed


@pytest.mark.parametrize("kind", ["eps", "v"])
@pytest.mark.parametrize("name", ORACLES)
def test_trajectories_on_stable_diffusions_schedule_equal_diffusers(name, kind):
    """With diffusers exactly as it is: its tables in float32, ours in float64."""
    schedule = scaled_linear_schedule(prediction=kind)
    assert failures(name, kind, schedule, CONFIGS["scaled_linear"], same_table=False) == {}


@pytest.mark.parametrize(("name", "kind"), PREDICTIONS)
@pytest.mark.parametrize("schedule_name", ["linear", "cosine"])
def test_trajectories_on_the_same_table_equal_diffusers(name, schedule_name, kind):
    """With our float64 alpha_bar given to diffusers: its own has lost up to 4 digits of 1 - alpha_bar."""
    schedule = MAKERS[schedule_name](prediction=kind)
    assert failures(name, kind, schedule, CONFIGS[schedule_name], same_table=True) == {}


@pytest.mark.parametrize("name", ORACLES)
def test_trajectories_from_zero_terminal_snr_equal_diffusers(name):
    schedule = rescale_zero_terminal_snr(scaled_linear_schedule(prediction="v"))
    spacing = None if name == "lcm" else "trailing"
    for num_steps in (5, 20):
        case = Case(name, num_steps, 0, SamplerOptions(spacing))
        oracle = case.oracle("v", {**CONFIGS["scaled_linear"], "rescale_betas_zero_snr": True})
        plan = make_plan(name, schedule, num_steps, 0, case.options)
        assert worst_error(case, plan, oracle, "v") <= tolerance(name, plan.levels)


@pytest.mark.parametrize("name", ORACLES)
def test_the_network_is_asked_at_the_timesteps_of_diffusers(name):
    schedule = scaled_linear_schedule()
    for case in cases(name):
        oracle = case.oracle("eps", CONFIGS["scaled_linear"])
        oracle.set_timesteps(case.num_steps)
        plan = make_plan(name, schedule, case.num_steps, case.start, case.options)
        expected = oracle.timesteps[case.start :].double()
        # fractional timesteps are float32 there, found on its float32 table
        torch.testing.assert_close(plan.timesteps, expected, rtol=0, atol=5e-3 if case.options.karras else 1e-4)


@pytest.mark.parametrize(("name", "spacing"), [("ddim", "leading"), ("euler", "linspace"), ("dpmpp_2m", "linspace")])
def test_without_a_spacing_a_sampler_takes_the_one_that_diffusers_gives_it(name, spacing):
    implicit, explicit = (
        make_plan(name, scaled_linear_schedule(), 20, 0, SamplerOptions(spacing)) for spacing in (None, spacing)
    )
    assert torch.equal(implicit.coefficients, explicit.coefficients)
