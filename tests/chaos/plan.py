"""What happens when: wishes and faults drawn from one seed, so that a run can be repeated by it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.jobs.catalogue import CatalogueEntry, ModelDefaults

ENTRY = CatalogueEntry(
    name="storybook",
    revision="r1",
    tasks=["text_to_image"],
    native_width=64,
    native_height=64,
    min_side=64,
    max_side=256,
    multiple=8,
    samplers=["ddim"],
    defaults=ModelDefaults(steps=8, guidance_scale=5.0, sampler="ddim"),
    parameters=1,
    licence="MIT",
    fingerprint="fake",
)


@dataclass(frozen=True)
class Scale:
    """How long everything takes in a run of `jobs` jobs."""

    jobs: int
    storm_s: float
    """Wishes and faults are spread over this time."""
    kill_after_s: float = 5.0
    """A worker is killed when it has been ready for this long, again and again."""
    full_s: float = 10.0
    freezes: int = 3
    api_kills: int = 2
    redis_kills: int = 3
    killers: int = 2
    """So many of the jobs kill every worker that runs them."""
    dropped_rings: float = 0.15
    step_s: float = 0.01
    tidy_s: float = 2.0
    waits: Mapping[str, float] = field(default_factory=lambda: {"lease_s": 3.0, "beat_s": 0.5, "sweep_s": 0.5})

    @property
    def frozen_s(self) -> float:
        """Longer than a lease and a sweep: whoever sleeps so long has lost everything."""
        return self.waits["lease_s"] + self.waits["sweep_s"] + 1.0


def scale_of(jobs: int) -> Scale:
    """The long run, or one that fits into a test: the same faults, in less time."""
    if jobs >= 200:
        return Scale(jobs, storm_s=max(60.0, jobs / 8))
    waits = {"lease_s": 2.0, "beat_s": 0.4, "sweep_s": 0.4}
    return Scale(jobs, storm_s=18.0, kill_after_s=2.0, full_s=2.0, freezes=2, api_kills=1, killers=1, waits=waits)


@dataclass(frozen=True, order=True)
class Act:
    """Something that is done at a time (seconds since the start of the storm)."""

    at_s: float
    what: str
    whom: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    scale: Scale
    wishes: Sequence[tuple[float, dict[str, Any], float | None]]
    """When it is asked for, what, and how many seconds after its 202 it is cancelled, if at all."""
    faults: Sequence[Act]


def draw(seed: int, jobs: int) -> Plan:
    """The plan of this seed."""
    dice, scale = random.Random(seed), scale_of(jobs)
    killers = set(dice.sample(range(jobs), scale.killers))
    wishes = []
    for number in range(jobs):
        wish = {
            "task": "text_to_image",
            "prompt": "die" if number in killers else f"picture {number}",
            "width": 64,
            "height": 64,
            "seed": dice.randrange(2**32),
            "steps": dice.randint(4, 16),
            "num_images": dice.choice((1, 1, 2, 3)),
        }
        cancelled_after_s = dice.uniform(0, 3) if number not in killers and dice.random() < 0.1 else None
        wishes.append((dice.uniform(0, scale.storm_s * 0.9), wish, cancelled_after_s))
    return Plan(seed, scale, sorted(wishes, key=lambda each: each[0]), _faults(dice, scale))


def _faults(dice: random.Random, scale: Scale) -> list[Act]:
    acts = [Act(dice.uniform(1, scale.storm_s), "kill", "valkey") for _ in range(scale.redis_kills)]
    acts += [Act(dice.uniform(1, scale.storm_s), "kill", "api") for _ in range(scale.api_kills)]
    acts += [Act(dice.uniform(1, scale.storm_s - scale.frozen_s), "freeze", "worker-1") for _ in range(scale.freezes)]
    acts += [Act(dice.uniform(1, scale.storm_s), "flush", "valkey")]
    acts += [Act(dice.uniform(1, scale.storm_s - scale.full_s), "fill", "disk")]
    return sorted(acts)
