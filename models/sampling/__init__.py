"""Samplers: seven names, three files, one table each.

    plan = make_plan("dpmpp_2m", schedule, num_steps=25, options=SamplerOptions(karras=True))
    x = advance(x, x0, x0_previous, z, plan.coefficients[i].expand(len(x), 4))

A new sampler is one file with a builder `(schedule, num_steps, start, options) -> SamplingPlan`, and one line
in SAMPLERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.sampling.ddim import ddim, ddpm, euler, euler_ancestral
from models.sampling.dpm_solver import dpmpp_2m, dpmpp_2m_sde
from models.sampling.lcm import MAX_STEPS as LCM_MAX_STEPS
from models.sampling.lcm import lcm
from models.sampling.plan import SamplerOptions, SamplingPlan, advance, start_of_strength
from models.schedule import Schedule

__all__ = [
    "SAMPLERS",
    "Sampler",
    "SamplerOptions",
    "SamplingPlan",
    "advance",
    "make_plan",
    "start_of_strength",
]

Builder = Callable[[Schedule, int, int, SamplerOptions], SamplingPlan]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A builder of plans, and what it can be asked for.

    build: `(schedule, num_steps, start, options) -> SamplingPlan`; trusts its arguments, see `make_plan`.
    max_steps: the most steps it takes, if the schedule's length is not the only bound.
    """

    build: Builder
    max_steps: int | None = None
    takes_eta: bool = False
    takes_karras: bool = False

    def bound(self, num_timesteps: int) -> int:
        """The most steps on a schedule of this length."""
        return num_timesteps if self.max_steps is None else min(self.max_steps, num_timesteps)


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "ddim": Sampler(ddim, takes_eta=True),
        "ddpm": Sampler(ddpm),
        "euler": Sampler(euler, takes_karras=True),
        "euler_ancestral": Sampler(euler_ancestral, takes_karras=True),
        "dpmpp_2m": Sampler(dpmpp_2m, takes_karras=True),
        "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, takes_karras=True),
        "lcm": Sampler(lcm, max_steps=LCM_MAX_STEPS),
    }
)


def make_plan(
    name: str,
    schedule: Schedule,
    num_steps: int,
    start: int = 0,
    options: SamplerOptions | None = None,
) -> SamplingPlan:
    """The table of a sampler: `num_steps` steps over the schedule, of which the first `start` are not run.

    A start leaves the remaining steps where they are, but the plan is built for them alone: a multistep
    sampler does not look back to a step that was never taken.
    Raises: ValueError naming what is wrong and what is allowed.
    """
    if options is None:
        options = SamplerOptions()
    sampler = SAMPLERS.get(name)
    if sampler is None:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {name!r}")
    bound = sampler.bound(schedule.num_timesteps)
    if not 1 <= num_steps <= bound:
        raise ValueError(f"num_steps of {name} must be 1 to {bound}, got {num_steps}")
    if not 0 <= start < num_steps:
        raise ValueError(f"start must be 0 to {num_steps - 1} of {num_steps} steps, got {start}")
    if options.eta != 0 and not sampler.takes_eta:
        raise ValueError(f"eta is only for {_names(lambda s: s.takes_eta)}, got {options.eta:g} with {name}")
    if options.karras and not sampler.takes_karras:
        raise ValueError(f"karras is only for {_names(lambda s: s.takes_karras)}, got it with {name}")
    return sampler.build(schedule, num_steps, start, options)


def _names(wanted: Callable[[Sampler], bool]) -> str:
    return ", ".join(name for name, sampler in SAMPLERS.items() if wanted(sampler))
