"""A service in miniature on a clock that nobody waits for: fair order, workers that share steps, and noise.

What a quote says is asked of the real arithmetic; what becomes of the job is played out, step by step.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from app.jobs.expectation import Ahead, Expected, Line, Made, Running, Speeds, Work, expect
from app.jobs.quote import Case, Quote, quote

OWNERS = ("anna", "ben", "cleo", "dora")
SIDES = (64, 128, 256)
STEPS = (4, 10, 25, 50)
COST_S = 1e-6
BESIDE = 4  # so many of other owners are let in by a worker that is full
REMEMBERED = 100


@dataclass
class Job:
    """One job on its way."""

    number: int
    owner: str
    work: Work
    tag: float
    created: float
    service_s: float
    expected: Expected | None
    quote: Quote | None
    started: float = math.nan
    finished: float = math.nan
    done_s: float = 0.0
    worker: str = ""

    @property
    def rank(self) -> tuple[bool, float, int]:
        return self.work.is_low, self.tag, self.number


@dataclass(frozen=True)
class Load:
    """What comes: so many jobs, at this share of what the workers can do, `burst` of them at a time."""

    seed: int
    jobs: int = 800
    share: float = 0.7
    workers: int = 1
    burst: int = 1
    noise: float = 0.15
    low: float = 0.1


@dataclass
class Service:
    """The queue, the workers and the past."""

    load: Load
    now: float = 0.0
    queue: list[Job] = field(default_factory=list)
    hands: dict[str, list[Job]] = field(default_factory=dict)
    made: deque[Made] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    over: deque[Case] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    ended: list[Job] = field(default_factory=list)
    last_tag: dict[str, float] = field(default_factory=dict)
    virtual_now: float = 0.0

    def run(self) -> list[Job]:
        """Everything that comes, until it has ended."""
        chance = random.Random(self.load.seed)
        self.hands = {f"worker-{n}": [] for n in range(self.load.workers)}
        free_at = [(0.0, worker) for worker in self.hands]
        arrivals = list(self._arrivals(chance))[::-1]
        while len(self.ended) < self.load.jobs:
            moment, worker = heapq.heappop(free_at)
            while arrivals and arrivals[-1][0] <= moment:
                self.now, owner, work = arrivals.pop()
                self._submit(owner, work, chance)
            self.now = moment
            step_s = self._step(worker)
            heapq.heappush(free_at, (moment + step_s, worker))
        return self.ended

    def _arrivals(self, chance: random.Random) -> Iterator[tuple[float, str, Work]]:
        moment = 0.0
        mean_cost = sum(side**2 for side in SIDES) / len(SIDES) * sum(STEPS) / len(STEPS)
        for number in range(self.load.jobs):
            if number % self.load.burst == 0:
                rate = self.load.share * self.load.workers / (mean_cost * COST_S * self.load.burst)
                moment += chance.expovariate(rate)
                owner = chance.choices(OWNERS, (4, 2, 1, 1))[0]
            steps = chance.choice(STEPS)
            is_low = chance.random() < self.load.low
            yield moment, owner, Work("storybook", float(chance.choice(SIDES) ** 2 * steps), steps, True, is_low)

    def _submit(self, owner: str, work: Work, chance: random.Random) -> None:
        start_tag = max(self.virtual_now, self.last_tag.get(owner, 0.0))
        self.last_tag[owner] = start_tag + work.cost
        # The machine is slower at some times than at others, and no two jobs are quite alike.
        weather = 1.0 + 0.2 * math.sin(self.now / 300.0)
        service_s = work.cost * COST_S * weather * math.exp(chance.gauss(0.0, self.load.noise)) + 0.01
        job = Job(len(self.ended) + len(self.queue), owner, work, self.last_tag[owner], self.now, service_s, None, None)
        speeds = Speeds(self.made, {"storybook": COST_S})
        job.expected = expect(work, self._line(job), speeds)
        if job.expected is not None:
            job.quote = quote(work.is_low, job.expected, [*self.over, *self._alive()])
        self.queue.append(job)

    def _line(self, job: Job) -> Line:
        before = [other for other in self.queue if other.rank < job.rank]
        own = sum(other.work.cost for other in before if other.owner == job.owner)
        running = [
            Running(other.work, worker, other.owner == job.owner, 0.0, self.now - other.started)
            for worker, hand in self.hands.items()
            for other in hand
        ]
        ahead = [Ahead("storybook", len(before), sum(other.work.cost for other in before), own)] if before else []
        return Line([["storybook"]] * self.load.workers, running, ahead)

    def _alive(self) -> Iterator[Case]:
        for job in self.queue:
            if job.expected is not None:
                age_s = self.now - job.created
                yield Case(job.work.is_low, job.expected, age_s, age_s, has_started=False, has_finished=False)
        for job in itertools.chain(*self.hands.values()):
            if job.expected is not None:
                yield Case(
                    job.work.is_low,
                    job.expected,
                    job.started - job.created,
                    self.now - job.created,
                    has_finished=False,
                )

    def _step(self, worker: str) -> float:
        """Let the worker take in what it may and do one step; returns how long that takes."""
        hand = self.hands[worker]
        while taken := self._claimable(hand):
            self.queue.remove(taken)
            taken.started, taken.worker = self.now, worker
            self.virtual_now = max(self.virtual_now, taken.tag - taken.work.cost)
            hand.append(taken)
        if not hand:
            return 0.02
        wanted = [job for job in hand if not job.work.is_low] or hand
        job = min(wanted, key=lambda each: each.done_s)
        step_s = job.service_s / job.work.steps
        job.done_s += step_s
        if job.done_s >= job.service_s - 1e-9:
            hand.remove(job)
            self._end(replace(job, finished=self.now + step_s))
        return step_s

    def _claimable(self, hand: list[Job]) -> Job | None:
        if not hand:
            return min(self.queue, key=lambda job: job.rank, default=None)
        busy_for = {job.owner for job in hand if not job.work.is_low}
        fit = [job for job in self.queue if job.owner not in busy_for and not job.work.is_low]
        return min(fit, key=lambda job: job.rank, default=None) if len(hand) <= BESIDE else None

    def _end(self, job: Job) -> None:
        self.ended.append(job)
        self.made.append(Made(job.work, job.service_s))
        if job.expected is not None:
            times = job.started - job.created, job.finished - job.created
            self.over.append(Case(job.work.is_low, job.expected, *times))


def kept_share(jobs: list[Job], skip: int = 100) -> tuple[float, float]:
    """The shares of jobs that finished within the quoted p50 and p90, the first ones left out."""
    judged = [(job.finished - job.created, job.quote) for job in jobs[skip:] if job.quote is not None]
    kept = [(took_s <= quoted.finish.p50, took_s <= quoted.finish.p90) for took_s, quoted in judged]
    return sum(p50 for p50, _ in kept) / len(kept), sum(p90 for _, p90 in kept) / len(kept)
