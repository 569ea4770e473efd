"""What to expect of a job: when it starts and finishes, from what is ahead and how fast such work went lately.

Deliberately plain, and pure: whatever is ahead, spread over the workers, then the job itself.  What this leaves out
(who comes later and goes first, steps that are shared, a machine that is busy) is for `quote` to learn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

# So many of the jobs that are most alike tell how long one takes.
ALIKE = 16

# Nothing takes no time at all.
_LEAST_S = 0.001

# What share of its time a running job has behind it at most: after its last step it is decoded and written.
_NEARLY_ALL = 0.95


@dataclass(frozen=True, slots=True)
class Work:
    """A job as far as its time depends on it: `cost` in pixels x steps x images, `steps` over all images, both > 0."""

    model: str
    cost: float
    steps: int
    is_guided: bool
    is_low: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds from the submit, before anything was learned from earlier expectations."""

    start_s: float
    finish_s: float

    @property
    def own_s(self) -> float:
        """How long the job itself takes."""
        return self.finish_s - self.start_s


@dataclass(frozen=True, slots=True)
class Made:
    """A job that was made, and its seconds on the device."""

    work: Work
    service_s: float


@dataclass(frozen=True, slots=True)
class Running:
    """A job in a worker's hands: what share of its steps it has told, and how long it has been there."""

    work: Work
    worker: str
    is_mine: bool
    told_share: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """The queued jobs of one model that are taken first: how many, and their cost, in all and the owner's own."""

    model: str
    jobs: int
    cost: float
    own_cost: float


class Speeds:
    """How long work takes, by what was made lately; by what the workers measured of a model that made nothing yet."""

    def __init__(self, made: Sequence[Made], measured: Mapping[str, float]) -> None:
        """Learn from what was `made`, in any order, and from the seconds per unit of cost `measured` of models."""
        self._made = made
        self._measured = measured

    def seconds(self, work: Work) -> float | None:
        """How long one worker takes for it alone; None if nothing is known of its model."""
        known = [made for made in self._made if made.work.model == work.model]
        if not known:
            return self._of_cost(work.model, work.cost)
        alike = sorted(known, key=lambda made: _distance(made.work, work))[:ALIKE]
        return max(_LEAST_S, work.cost * median(made.service_s / made.work.cost for made in alike))

    def mean_seconds(self, model: str, cost: float) -> float:
        """How long one worker takes for very different jobs of this cost together; 0 if nothing is known."""
        known = [made for made in self._made if made.work.model == model]
        if not known:
            return self._of_cost(model, cost) or 0.0
        return cost * sum(made.service_s for made in known) / sum(made.work.cost for made in known)

    def _of_cost(self, model: str, cost: float) -> float | None:
        return max(_LEAST_S, cost * self._measured[model]) if model in self._measured else None


@dataclass(frozen=True, slots=True)
class Line:
    """What a job finds: `serving` says of every living worker what it serves."""

    serving: Sequence[Sequence[str]]
    running: Sequence[Running]
    ahead: Sequence[Ahead]

    def workers(self, model: str) -> int:
        """How many living workers serve the model."""
        return sum(model in served for served in self.serving)

    def share(self, model: str, other: str) -> float:
        """What share of the work for the `other` model falls to the workers that serve `model`."""
        both = sum(model in served and other in served for served in self.serving)
        return both / self.workers(other) if both else 0.0


def expect(work: Work, line: Line, speeds: Speeds) -> Expected | None:
    """When a queued job starts and finishes; None while no worker serves its model, or nobody knows how fast."""
    workers, own_s = line.workers(work.model), speeds.seconds(work)
    if not workers or own_s is None:
        return None
    queued_s = sum(
        line.share(work.model, each.model) * speeds.mean_seconds(each.model, each.cost) for each in line.ahead
    )
    mine_s = sum(speeds.mean_seconds(each.model, each.own_cost) for each in line.ahead)
    busy_s, busy = 0.0, 0.0
    for each in line.running:
        if each.work.is_low and not work.is_low:
            continue  # it makes way at the next step
        share = line.share(work.model, each.work.model)
        left_s = remaining_s(each, line.running, speeds)
        # Another owner's job shares the device with this one, so no more of it is waited for than this one has.
        is_shared = not each.is_mine and each.work.is_low == work.is_low
        busy_s += share * (min(left_s, mine_s + own_s) if is_shared else left_s)
        busy += share
    is_free = busy + sum(each.jobs for each in line.ahead) < workers
    start_s = 0.0 if is_free else (busy_s + queued_s) / workers
    return Expected(start_s, start_s + own_s)


def remaining_s(job: Running, running: Sequence[Running], speeds: Speeds) -> float:
    """How long one worker still takes for this job alone, which is among those `running`; 0 if nobody knows."""
    service_s = speeds.seconds(job.work)
    if service_s is None:
        return 0.0
    company = sum(other.worker == job.worker for other in running)
    done = max(job.told_share, job.elapsed_s / (service_s * company))
    return service_s * (1.0 - min(done, _NEARLY_ALL))


def expect_rest(job: Running, running: Sequence[Running], speeds: Speeds) -> Expected | None:
    """When a job that a worker has in hand finishes; None if nobody knows how fast it is.

    Of every other one in the same hands no more is waited for than the job has itself to go.
    """
    left_s = remaining_s(job, running, speeds)
    if left_s == 0:
        return None
    others = [other for other in running if other is not job and other.worker == job.worker]
    rivals = [other for other in others if job.work.is_low or not other.work.is_low]
    shared_s = sum(min(left_s, remaining_s(other, running, speeds)) for other in rivals)
    return Expected(shared_s, shared_s + left_s)


def _distance(one: Work, other: Work) -> float:
    """How different two jobs of a model are to the device."""
    sizes = math.log(one.cost / one.steps) - math.log(other.cost / other.steps)
    steps = math.log(one.steps) - math.log(other.steps)
    return abs(sizes) + abs(steps) + (one.is_guided != other.is_guided)
