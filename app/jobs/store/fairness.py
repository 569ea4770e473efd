"""Who is next: start-time fair queueing by cost between owners.

Each job gets a stretch of virtual time as long as its cost divided by its owner's weight, beginning where the
owner's last one ends, or now if that is past: `start_tag` to `tag`.  Jobs are taken in the order of `tag`, so an
owner who queues a thousand delays the single job of another by no more than the one that is running.

`low` waits for all of `normal`.  Nobody waits for ever: a lane (the jobs of one owner, priority and model) from
which nothing was taken for longer than the bound has its first job taken before all others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, not_, or_, select, text, union_all

from app.jobs.columns import database_now
from app.jobs.store.records import Priority, State
from app.jobs.tables import jobs, lanes, principals

# So many of each model are looked at.
FEW = 8

# No more claimers than these are at work at once.
MANY = 256

# Virtual now is where the latest of so many jobs that were taken last began: one that is taken again is older.
_RECENT = 32

# PostgreSQL's advisory locks of two numbers: this one, and the owner's.
_OWNER_LOCK = 0x6F776E72


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker has room for: jobs for the models it serves.

    Those that are `loaded` are preferred: a job for another one has its turn as late as if it cost `swap_cost` more.
    Unless it is `alone`, with nothing else in hand, it gets no job that must run alone. It wants jobs of these
    `priorities`, and none of the owners that it is busy for already. `fingerprint` says what kind of device and build
    it is, where that is known: some jobs are for one kind only.
    """

    served: Sequence[str]
    loaded: Sequence[str] = ()
    swap_cost: float = 0.0
    alone: bool = True
    priorities: Sequence[Priority] = tuple(Priority)
    busy_for: Sequence[str] = ()
    fingerprint: str | None = None

    def lag(self, model: str) -> float:
        """By how much virtual time the model's jobs stand back."""
        return 0.0 if model in self.loaded else self.swap_cost


def one_submit_at_a_time(connection: Connection, owner: str) -> None:
    """Let nobody else queue anything for this owner before the transaction ends."""
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:lock, hashtext(:owner))")
        connection.execute(lock, {"lock": _OWNER_LOCK, "owner": owner})


def start_tag(connection: Connection, owner: str, priority: Priority) -> float:
    """Where the virtual time of the owner's next job begins."""
    # What was cancelled took nothing from anybody.
    last = (
        select(jobs.c.tag)
        .where(jobs.c.owner == owner, jobs.c.priority == priority, jobs.c.state != State.CANCELLED)
        .order_by(jobs.c.number.desc())
        .limit(1)
    )
    return max(_virtual_now(connection, priority), connection.execute(last).scalar() or 0.0)


def _virtual_now(connection: Connection, priority: Priority) -> float:
    recent = (
        select(jobs.c.start_tag)
        .where(jobs.c.priority == priority, jobs.c.started_at.is_not(None))
        .order_by(jobs.c.started_at.desc())
        .limit(_RECENT)
        .subquery()
    )
    return float(connection.execute(select(func.max(recent.c.start_tag))).scalar() or 0.0)


def tag(connection: Connection, owner: str, start_tag: float, cost: float) -> float:
    """Where the virtual time of a job ends that begins at `start_tag`."""
    return start_tag + cost / _weight(connection, owner)


def _weight(connection: Connection, owner: str) -> float:
    """The owner's share of the service."""
    known = connection.execute(select(principals.c.weight).where(principals.c.name == owner)).scalar()
    return 1.0 if known is None else float(known)


def next_in_line(
    connection: Connection, room: Room, starvation_s: float
) -> Iterator[tuple[Select[tuple[int]], dict[str, Any]]]:
    """Queries for the number of the row to take, the first that finds one being right, and what the row becomes.

    Each locks the row it finds, and passes by those that others are taking.
    """
    if not room.served:
        return
    for priority in room.priorities:
        if starving := _starving(connection, room, priority, starvation_s):
            # Taken before its time, it must not turn the clock forward to where its time would have been.
            now = _virtual_now(connection, priority)
            start = case((jobs.c.start_tag > now, now), else_=jobs.c.start_tag)
            yield _pick(starving), {"start_tag": start}
    # In SQLite nobody else takes anything meanwhile.
    widths = (FEW, MANY) if connection.dialect.name == "postgresql" else (FEW,)
    for priority in room.priorities:
        for width in widths:
            if first := _first(connection, room, priority, width):
                yield _pick(first, room), {}


def is_solo_next(connection: Connection, room: Room, starvation_s: float) -> bool:
    """Whether a worker with this room would get a job that must run alone."""
    for found, _ in next_in_line(connection, room, starvation_s):
        number = connection.execute(found).scalar()
        if number is not None:
            return bool(connection.execute(select(jobs.c.solo).where(jobs.c.number == number)).scalar())
    return False


def is_before(priority: Priority, tag: float, number: int) -> ColumnElement[bool]:
    """The queued rows that are taken before the one with these."""
    is_earlier = and_(
        jobs.c.priority == priority,
        case((jobs.c.tag == tag, jobs.c.number < number), else_=jobs.c.tag < tag),
    )
    is_ahead = is_earlier if priority is Priority.NORMAL else (jobs.c.priority == Priority.NORMAL) | is_earlier
    return and_(jobs.c.state == State.QUEUED, is_ahead)


def _fits(room: Room) -> ColumnElement[bool]:
    """Rows that are due, and that the worker may have; their first model is asked for elsewhere."""
    is_due = and_(jobs.c.state == State.QUEUED, jobs.c.not_before <= database_now())
    others = [] if room.alone else [not_(jobs.c.solo)]
    others.append(or_(jobs.c.second_model.is_(None), jobs.c.second_model.in_(room.served)))
    others.append(or_(jobs.c.fingerprint.is_(None), jobs.c.fingerprint == room.fingerprint))
    if room.busy_for:
        others.append(jobs.c.owner.not_in(room.busy_for))
    return and_(is_due, *others)


def _pick(numbers: Sequence[int], room: Room | None = None) -> Select[tuple[int]]:
    """The best of these rows, for a worker with this room, if it is still queued.

    Rows and state are said in a way that leaves a planner no other index than the primary key.
    """
    lags = {} if room is None else {model: room.lag(model) for model in room.served}
    turn = jobs.c.tag + case(lags, value=jobs.c.model, else_=0.0) if any(lags.values()) else jobs.c.tag
    return (
        select(jobs.c.number)
        .where(jobs.c.number.in_(numbers), jobs.c.lease_until.is_(None), jobs.c.finished_at.is_(None))
        .order_by(turn, jobs.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _first(connection: Connection, room: Room, priority: Priority, width: int) -> Sequence[int]:
    """The rows that are next, all models together; each model is asked on its own, as the index has them."""

    def of_model(model: str) -> Select[tuple[int, float]]:
        ordered = (
            select(jobs.c.number, jobs.c.tag)
            .where(_fits(room), jobs.c.priority == priority, jobs.c.model == model)
            .order_by(jobs.c.tag, jobs.c.number)
            .limit(width)
            .subquery()
        )
        return select(ordered.c.number, (ordered.c.tag + room.lag(model)).label("turn"))

    line = union_all(*map(of_model, room.served)).subquery()
    query = select(line.c.number).order_by(line.c.turn, line.c.number).limit(width)
    return connection.execute(query).scalars().all()


def _starving(connection: Connection, room: Room, priority: Priority, starvation_s: float) -> Sequence[int]:
    """The first rows of those lanes from which nothing was taken for too long, if they have waited as long."""
    then = database_now() - starvation_s
    in_lane = and_(jobs.c.owner == lanes.c.owner, jobs.c.priority == lanes.c.priority, jobs.c.model == lanes.c.model)
    first = (
        select(jobs.c.number)
        .where(in_lane, _fits(room))
        .order_by(jobs.c.tag, jobs.c.number)
        .limit(1)
        .correlate(lanes)
        .scalar_subquery()
    )
    was_served = exists().where(in_lane, jobs.c.started_at > then)
    heads = select(first).where(lanes.c.priority == priority, lanes.c.model.in_(room.served), not_(was_served))
    numbers = [number for number in connection.execute(heads).scalars() if number is not None]
    if not numbers:
        return []
    return (
        connection.execute(select(jobs.c.number).where(jobs.c.number.in_(numbers), jobs.c.created_at < then))
        .scalars()
        .all()
    )
