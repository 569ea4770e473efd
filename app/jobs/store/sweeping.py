"""What nobody else will do any more.  Any process may sweep at any time, and as often as it likes."""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, not_, select

from app.jobs.columns import database_now
from app.jobs.failures import ErrorCode
from app.jobs.settings import Settings
from app.jobs.store import tallying
from app.jobs.store.records import State, Swept
from app.jobs.store.registering import workers_alive
from app.jobs.store.rows import change, ended, lease_has_run_out, queued_again, unlocked
from app.jobs.tables import files, is_picky, jobs, lanes, models, workers

_FORGET_WORKER_S = 3600.0
_CLOSE_LANE_S = 60.0

# SQLite takes 32,766 variables in a statement, PostgreSQL 65,535.
_KEYS_AT_ONCE = 1000

_JOB_FILE = re.compile(r"(?P<job_id>[0-9a-f]{32})/(?P<attempt>[0-9]{1,9})-.+", re.DOTALL)


def sweep(connection: Connection, settings: Settings) -> Swept:
    """End or requeue what its worker left behind; fail what no worker wants; forget workers long gone."""
    run_out = and_(lease_has_run_out(), not_(jobs.c.cancel_requested))
    # An attempt that was given back proved nothing about the job.
    is_spent = jobs.c.attempt - jobs.c.infra_failures >= settings.max_attempts
    counted = {"losses": jobs.c.losses + 1, "solo": jobs.c.losses >= 1}

    def sweep_up(guard: ColumnElement[bool], values: dict[str, Any]) -> tuple[str, ...]:
        # What is locked is being changed by somebody who lives; the next sweep looks at it again.
        return change(connection, unlocked(jobs, guard), values)

    cancelled = sweep_up(and_(lease_has_run_out(), jobs.c.cancel_requested), ended(State.CANCELLED))
    lost = sweep_up(and_(run_out, is_spent), _failed(ErrorCode.WORKER_LOST) | counted)
    requeued = sweep_up(and_(run_out, not_(is_spent)), queued_again() | counted)
    unwanted = _fail_unwanted(connection, settings.model_wait_s)
    unwanted += _fail_unmatched(connection, settings.model_wait_s, settings.lease_s)
    gone = workers.c.seen_at < database_now() - _FORGET_WORKER_S
    connection.execute(delete(workers).where(unlocked(workers, gone)))
    _forget_keys(connection, settings.idempotency_s)
    _close_lanes(connection)
    tallying.tally(connection)

    due = select(jobs.c.id).where(jobs.c.state == State.QUEUED, jobs.c.not_before <= database_now()).limit(1)
    return Swept(
        requeued=requeued,
        failed=lost + unwanted,
        cancelled=cancelled,
        ring=connection.execute(due).first() is not None,
    )


def _forget_keys(connection: Connection, after_s: float) -> None:
    """From now on a request with such a key is a new one."""
    is_old = and_(jobs.c.idempotency_key.is_not(None), jobs.c.created_at < database_now() - after_s)
    change(connection, unlocked(jobs, is_old), {"idempotency_key": None, "body_sha256": None})


def _close_lanes(connection: Connection) -> None:
    """Remove the lanes in which nobody waits; the next submit opens them again.

    Not at once: a submit that is under way has its lane already, and its job is not to be seen yet.
    """
    in_lane = and_(jobs.c.owner == lanes.c.owner, jobs.c.priority == lanes.c.priority, jobs.c.model == lanes.c.model)
    is_used = exists().where(in_lane, jobs.c.state.in_([State.QUEUED, State.RUNNING]))
    is_old = lanes.c.used_at < database_now() - _CLOSE_LANE_S
    connection.execute(delete(lanes).where(unlocked(lanes, and_(is_old, not_(is_used)))))


def _failed(code: ErrorCode) -> dict[str, Any]:
    return ended(State.FAILED, code, code.message)


def _fail_unwanted(connection: Connection, wait_s: float) -> tuple[str, ...]:
    """Fail what has waited for too long for a model that nobody serves any more."""
    then = database_now() - wait_s
    was_served = exists().where(models.c.name == lanes.c.model, models.c.served_at > then)
    # The lanes know which models are waited for, without a look at every row that waits.
    unserved = connection.execute(select(lanes.c.model).distinct().where(not_(was_served))).scalars().all()
    if not unserved:
        return ()
    waits = and_(jobs.c.state == State.QUEUED, jobs.c.model.in_(unserved), jobs.c.queued_at < then)
    return change(connection, unlocked(jobs, waits), _failed(ErrorCode.MODEL_UNAVAILABLE))


def _fail_unmatched(connection: Connection, wait_s: float, silence_s: float) -> tuple[str, ...]:
    """Fail what has waited for too long for a worker that serves both its models, or is of its fingerprint."""
    then = database_now() - wait_s
    waits = and_(is_picky, jobs.c.state == State.QUEUED, jobs.c.queued_at < then)
    needs = jobs.c.model, jobs.c.second_model, jobs.c.fingerprint
    wanted = connection.execute(select(*needs).where(waits).distinct()).all()
    if not wanted:
        return ()
    alive = workers_alive(connection, silence_s)
    served = set(connection.execute(select(models.c.name).where(models.c.served_at > then)).scalars())

    def is_hopeless(first: str, second: str | None, fingerprint: str | None) -> bool:
        if any(worker.can_do(first, second, fingerprint) for worker in alive):
            return False
        # A worker that serves both may just be starting anew: unless each of them has a worker without the other.
        are_apart = all(any(worker.can_do(name) for worker in alive) for name in (first, second) if name)
        return fingerprint is not None or second not in served or are_apart

    failed: tuple[str, ...] = ()
    for need in wanted:
        if is_hopeless(*need):
            # NULL equals nothing, not even itself.
            same = [column.is_not_distinct_from(value) for column, value in zip(needs, need, strict=True)]
            failed += change(connection, unlocked(jobs, and_(waits, *same)), _failed(ErrorCode.MODEL_UNAVAILABLE))
    return failed


def orphans(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Those job files that no row needs now or ever will again; other keys are never orphans.

    A file is one if its job is gone, or the job has gone on to a later attempt, or the job has ended and did
    not publish it.  Each of these stays true once it is, so the caller may delete at leisure.
    """
    found = {key: match for key in keys if (match := _JOB_FILE.fullmatch(key))}
    rows = _job_states(connection, sorted({match["job_id"] for match in found.values()}))
    published = _published(connection, sorted(found))

    def is_orphan(key: str, job_id: str, attempt: int) -> bool:
        if job_id not in rows:
            return True
        state, newest_attempt = rows[job_id]
        return attempt < newest_attempt or (state.is_terminal and key not in published)

    return {key for key, match in found.items() if is_orphan(key, match["job_id"], int(match["attempt"]))}


def _job_states(connection: Connection, job_ids: list[str]) -> dict[str, tuple[State, int]]:
    rows: dict[str, tuple[State, int]] = {}
    for some in _slices(job_ids):
        query = select(jobs.c.id, jobs.c.state, jobs.c.attempt).where(jobs.c.id.in_(some))
        rows |= {row.id: (State(row.state), row.attempt) for row in connection.execute(query)}
    return rows


def _published(connection: Connection, keys: list[str]) -> set[str]:
    published: set[str] = set()
    for some in _slices(keys):
        published |= set(connection.execute(select(files.c.key).where(files.c.key.in_(some))).scalars())
    return published


def _slices(items: list[str]) -> list[list[str]]:
    return [items[start : start + _KEYS_AT_ONCE] for start in range(0, len(items), _KEYS_AT_ONCE)]
