"""What the metrics say of the queue, the workers and the work: one state of the database, read by its indexes."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from app.jobs.columns import database_now
from app.jobs.store import registering, tallying
from app.jobs.store.records import Priority, State, Worker
from app.jobs.store.tallying import ENDED, Tally
from app.jobs.tables import is_untallied, jobs

# How many of the jobs begun last tell how fast the work goes now.
_RECENT = 100

# What a job is taken for until one was measured.
_UNKNOWN_JOB_S = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The queued jobs of one priority for one model; `work_s` is how long one worker would take for them."""

    priority: str
    model: str
    jobs: int
    oldest_s: float
    work_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the last jobs of a model were made: device seconds per unit of cost, and per denoising step."""

    cost_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The service at one moment. `counts` are those of `tallying`, by what and kind."""

    waiting: tuple[Waiting, ...]
    running: Mapping[str, int]
    counts: Mapping[Tally, int]
    paces: Mapping[str, Pace]
    workers: tuple[Worker, ...]


def measure(connection: Connection, silence_s: float) -> Measured:
    """Look at everything once; workers that were silent for `silence_s` are not alive."""
    paces = _paces(connection)
    counts = tallying.counts(connection)
    waiting: list[Waiting] = []
    running: Counter[str] = Counter()
    now = connection.execute(select(database_now())).scalar_one()
    for row in connection.execute(_untallied()):
        counts["claims", ""] += row.attempts
        counts["losses", ""] += row.losses
        counts["give_backs", ""] += row.give_backs
        if row.state == State.QUEUED:
            work_s = _work_s(paces, row.model, row.jobs, row.cost)
            waiting.append(Waiting(row.priority, row.model, row.jobs, max(0.0, now - row.oldest), work_s))
        elif row.state == State.RUNNING:
            running[row.model] += row.jobs
    # Those that ended since the last sweep: few, and only their rows know with which error.
    codes = (
        select(jobs.c.state, jobs.c.error_code, func.count().label("jobs"))
        .where(jobs.c.state.in_(ENDED), is_untallied)
        .group_by(jobs.c.state, jobs.c.error_code)
    )
    for row in connection.execute(codes):
        counts["ended", row.error_code if row.state == State.FAILED else row.state] += row.jobs
    workers = tuple(registering.workers_alive(connection, silence_s))
    return Measured(tuple(waiting), running, counts, paces, workers)


def _untallied() -> Any:
    """One row for each state, priority and model; everything it asks for is in one index."""
    kinds = (jobs.c.state, jobs.c.priority, jobs.c.model)
    return (
        select(
            *kinds,
            func.count().label("jobs"),
            func.sum(jobs.c.cost).label("cost"),
            func.min(jobs.c.queued_at).label("oldest"),
            func.sum(jobs.c.attempt).label("attempts"),
            func.sum(jobs.c.losses).label("losses"),
            func.sum(jobs.c.infra_failures).label("give_backs"),
        )
        .where(is_untallied)
        .group_by(*kinds)
    )


def _paces(connection: Connection) -> dict[str, Pace]:
    """By model, from what was made last; what was queued long ago says little about the devices of now."""
    cost, steps, busy_s, denoise_s = (defaultdict[str, float](float) for _ in range(4))
    for priority in Priority:
        recent = (
            select(jobs.c.model, jobs.c.cost, jobs.c.steps, jobs.c.timings)
            # What jobs about images take says nothing of what developing takes.
            .where(jobs.c.priority == priority, jobs.c.started_at.is_not(None), jobs.c.subject.is_(None))
            .order_by(jobs.c.started_at.desc())
            .limit(_RECENT)
        )
        for row in connection.execute(recent):
            if row.timings:
                cost[row.model] += row.cost
                steps[row.model] += row.steps
                busy_s[row.model] += sum(row.timings.values())
                denoise_s[row.model] += row.timings["denoise_s"]
    return {
        model: Pace(busy_s[model] / cost[model], denoise_s[model] / steps[model] if steps[model] else 0.0)
        for model in busy_s
        if cost[model]
    }


def _work_s(paces: Mapping[str, Pace], model: str, waiting: int, cost: float) -> float:
    return cost * paces[model].cost_s if model in paces else waiting * _UNKNOWN_JOB_S
