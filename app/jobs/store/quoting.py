"""What quotes are made of, as the rows tell it: the line, the past, and who works."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, select

from app.jobs import spec
from app.jobs.columns import database_now
from app.jobs.database import Transactions
from app.jobs.expectation import Ahead, Expected, Line, Made, Running, Speeds, Work, expect, expect_rest
from app.jobs.quote import Case, Quote, Range, quote
from app.jobs.settings import Settings
from app.jobs.spec import Params
from app.jobs.store import fairness, quotas, reading, registering
from app.jobs.store.records import Job, Priority, State, Worker
from app.jobs.tables import jobs, lanes

# Of each priority: enough to find comparable ones among,
_RECENT = 100
# and for so long they are taken for the last ones, if nobody learns meanwhile.
_FRESH_S = 10.0

_WORK = (jobs.c.model, jobs.c.cost, jobs.c.steps, jobs.c.priority)
_GUIDANCE = jobs.c.params["guidance_scale"].as_float().label("guidance_scale")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the fair order: that of a queued row, or of one that would be queued now."""

    owner: str
    priority: Priority
    tag: float
    # Whoever comes last is behind all who have the same tag.
    number: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is in the queue (None: it is not queued), and when it starts and finishes (None: nobody knows)."""

    position: int | None = None
    quote: Quote | None = None


class Quotes:
    """What a store expects of its queue.  Every method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Look where `transactions` lead."""
        self._transactions = transactions
        self._settings = settings
        self._learned = _Learned((), ())
        self._learned_until = 0.0

    def of(self, params: Params, owner: str) -> Place:
        """Where a job of these params would be if the owner queued it now; nothing is queued.  Raises: TooCostly."""
        with self._transactions.reading() as connection:
            quotas.check_cost(quotas.quota(connection, owner, self._settings), spec.cost(params))
            return self._look(connection).queued(work_of(params), _next_spot(connection, params, owner))

    def expected(self, params: Params, owner: str) -> Expected | None:
        """When such a job starts and finishes, before anything is learned from the past; None while nobody knows.

        Asked without the lock of a submit: that a job or two come in between matters to nobody.
        """
        with self._transactions.reading() as connection:
            return self._look(connection).expect(work_of(params), _next_spot(connection, params, owner))

    def position(self, job: Job) -> int | None:
        """How many queued jobs will be taken before this one; None unless it is queued."""
        with self._transactions.reading() as connection:
            return reading.position(connection, job.id)

    def places(self, listed: Sequence[Job]) -> dict[str, Place]:
        """By id, where each of these jobs is and when it ends; none of those that have ended."""
        alive = {job.id for job in listed if not job.state.is_terminal}
        if not alive:
            return {}
        columns = *_WORK, _GUIDANCE, jobs.c.id, jobs.c.owner, jobs.c.tag, jobs.c.number, jobs.c.state
        with self._transactions.reading() as connection:
            query: Select[Any] = select(*columns).where(jobs.c.id.in_(alive))
            rows = connection.execute(query).all()
            sight = self._look(connection)
            return {row.id: sight.place(row) for row in rows}

    def learn(self) -> None:
        """Look at the last jobs; whoever sweeps does it, so that no request has to."""
        with self._transactions.reading() as connection:
            self._learn(connection)

    def _learn(self, connection: Connection) -> None:
        self._learned = _Learned.from_rows(connection)
        self._learned_until = time.monotonic() + _FRESH_S

    def _look(self, connection: Connection) -> "_Sight":
        if not self._learned.made or time.monotonic() > self._learned_until:
            self._learn(connection)
        return _Sight(connection, registering.workers_alive(connection, self._settings.lease_s), self._learned)


def work_of(params: Params) -> Work:
    """What the time of a job depends on."""
    return Work(
        model=params.model,
        cost=max(1.0, spec.cost(params)),
        steps=max(1, spec.steps_in_all(params)),
        is_guided=params.guidance_scale != 1,
        is_low=params.priority == "low",
    )


def _next_spot(connection: Connection, params: Params, owner: str) -> Spot:
    priority = Priority(params.priority)
    start_tag = fairness.start_tag(connection, owner, priority)
    return Spot(owner, priority, fairness.tag(connection, owner, start_tag, spec.cost(params)))


@dataclass(frozen=True, slots=True)
class _Learned:
    """What the last jobs tell of the next ones."""

    made: Sequence[Made]
    cases: Sequence[Case]

    @classmethod
    def from_rows(cls, connection: Connection) -> "_Learned":
        """What there is to learn now."""
        ended = [row for priority in Priority for row in connection.execute(_ended(priority))]
        begun = connection.execute(_of_the_last().where(jobs.c.state == State.RUNNING)).all()
        lines = connection.execute(select(lanes.c.priority, lanes.c.model).distinct()).all()
        waiting = [row for line in lines for row in connection.execute(_waiting(*line))]
        made = [Made(_work(row), sum(row.timings.values())) for row in ended if row.timings]
        known = [row for row in ended if row.timings] + [*begun, *waiting]
        return cls(made, [_case(row) for row in known if row.expected_finish_s])


class _Sight:
    """One look at the service, from one transaction."""

    def __init__(self, connection: Connection, alive: Sequence[Worker], learned: _Learned) -> None:
        self._connection = connection
        self._cases = learned.cases
        self._speeds = Speeds(learned.made, _measured(alive))
        self._serving = [worker.models for worker in alive]
        self._running = connection.execute(_RUNNING).all()

    def place(self, row: Row[Any]) -> Place:
        work = _work(row)
        if row.state == State.QUEUED:
            return self.queued(work, Spot(row.owner, Priority(row.priority), row.tag, row.number))
        running = self._told(row.owner)
        if row.id not in running:
            return Place()
        expected = expect_rest(running[row.id], list(running.values()), self._speeds)
        if expected is None:
            return Place()
        return Place(quote=replace(quote(work.is_low, expected, self._cases), start=Range(0.0, 0.0)))

    def queued(self, work: Work, spot: Spot) -> Place:
        ahead = _ahead(self._connection, spot)
        expected = expect(work, self._line(spot, ahead), self._speeds)
        quoted = None if expected is None else quote(work.is_low, expected, self._cases)
        return Place(sum(each.jobs for each in ahead), quoted)

    def expect(self, work: Work, spot: Spot) -> Expected | None:
        return expect(work, self._line(spot, _ahead(self._connection, spot)), self._speeds)

    def _line(self, spot: Spot, ahead: Sequence[Ahead]) -> Line:
        return Line(self._serving, list(self._told(spot.owner).values()), ahead)

    def _told(self, owner: str) -> Mapping[str, Running]:
        """What is running, as it is for this owner's jobs."""
        return {
            row.id: Running(
                work=_work(row),
                worker=row.worker,
                is_mine=row.owner == owner,
                told_share=row.step / max(1, row.steps),
                elapsed_s=row.elapsed_s,
            )
            for row in self._running
        }


def _measured(alive: Sequence[Worker]) -> dict[str, float]:
    """Seconds per unit of cost that the workers measured of their models: the mean of those who did."""
    told: dict[str, list[float]] = defaultdict(list)
    for worker in alive:
        for model, cost_s in worker.facts.get("cost_s", {}).items():
            if cost_s is not None:
                told[model].append(float(cost_s))
    return {model: fmean(costs_s) for model, costs_s in told.items()}


def _ahead(connection: Connection, spot: Spot) -> Sequence[Ahead]:
    own_cost = func.sum(case((jobs.c.owner == spot.owner, jobs.c.cost), else_=0.0))
    query = (
        select(
            jobs.c.model, func.count().label("jobs"), func.sum(jobs.c.cost).label("cost"), own_cost.label("own_cost")
        )
        .where(fairness.is_before(spot.priority, spot.tag, spot.number))
        .group_by(jobs.c.model)
    )
    return [Ahead(row.model, row.jobs, row.cost, row.own_cost) for row in connection.execute(query)]


# Made once: to make it costs as much as to ask it.
_RUNNING: Select[Any] = select(
    *(*_WORK, _GUIDANCE, jobs.c.id, jobs.c.owner, jobs.c.worker, jobs.c.step),
    (database_now() - jobs.c.started_at).label("elapsed_s"),
).where(jobs.c.state == State.RUNNING)


def _of_the_last() -> Select[Any]:
    times = jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, database_now().label("now")
    expected = jobs.c.expected_start_s, jobs.c.expected_finish_s
    return select(*_WORK, _GUIDANCE, *times, *expected, jobs.c.timings).limit(_RECENT)


def _ended(priority: Priority) -> Select[Any]:
    """The jobs begun last, with those that did not succeed; jobs about images say nothing of developing them."""
    has_begun = jobs.c.priority == priority, jobs.c.started_at.is_not(None), jobs.c.subject.is_(None)
    return _of_the_last().where(*has_begun).order_by(jobs.c.started_at.desc())


def _waiting(priority: str, model: str) -> Select[Any]:
    """Those that are next; whoever is behind them has waited for less time and tells less."""
    is_waiting = jobs.c.state == State.QUEUED, jobs.c.priority == priority, jobs.c.model == model
    return _of_the_last().where(*is_waiting).order_by(jobs.c.tag, jobs.c.number)


def _case(row: Row[Any]) -> Case:
    started_at, finished_at = row.started_at or row.now, row.finished_at or row.now
    return Case(
        is_low=row.priority == Priority.LOW,
        expected=Expected(row.expected_start_s, row.expected_finish_s),
        start_s=started_at - row.created_at,
        finish_s=finished_at - row.created_at,
        has_started=row.started_at is not None,
        has_finished=row.finished_at is not None,
    )


def _work(row: Row[Any]) -> Work:
    return Work(
        model=row.model,
        cost=max(1.0, row.cost),
        steps=max(1, row.steps),
        is_guided=row.guidance_scale != 1,
        is_low=row.priority == Priority.LOW,
    )
