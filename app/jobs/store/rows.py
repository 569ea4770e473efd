"""The few sentences that several transitions share: which row is meant, and what a row becomes."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select, update

from app.jobs.store.records import Claim, State
from app.jobs.tables import database_now, jobs


def held(claim: Claim) -> ColumnElement[bool]:
    """The claim's row, if it is still the claim's: the fence that every word of a worker must pass."""
    return and_(
        jobs.c.id == claim.job_id,
        jobs.c.attempt == claim.attempt,
        jobs.c.state == State.RUNNING,
    )


def lease_has_run_out() -> ColumnElement[bool]:
    """Rows whose worker has been silent for too long."""
    return and_(jobs.c.state == State.RUNNING, jobs.c.lease_until < database_now())


def unlocked(table: Table, guard: ColumnElement[bool]) -> ColumnElement[bool]:
    """The rows that pass the guard and that nobody is changing just now.

    Whoever changes many rows at once, and may come again, must not wait: two who do lock each other out.
    """
    (key,) = table.primary_key
    return and_(guard, key.in_(select(key).where(guard).with_for_update(skip_locked=True)))


def ended(state: State, code: str | None = None, message: str | None = None) -> dict[str, Any]:
    """What a row becomes when its job ends in `state`."""
    return {
        "state": state,
        "lease_until": None,
        "finished_at": database_now(),
        "error_code": code,
        "error_message": message,
    }


def queued_again(delay_s: float = 0.0) -> dict[str, Any]:
    """What a running row becomes when it returns to the queue, not to be taken before `delay_s` are over."""
    return {
        "state": State.QUEUED,
        "worker": None,
        "lease_until": None,
        "queued_at": database_now(),
        "not_before": database_now() + delay_s,
        "started_at": None,
        "model_revision": None,
        "step": 0,
    }


def change(connection: Connection, guard: ColumnElement[bool], values: dict[str, Any]) -> tuple[str, ...]:
    """Change every row that passes the guard, in one UPDATE; returns their job ids."""
    return tuple(connection.execute(update(jobs).where(guard).values(values).returning(jobs.c.id)).scalars())
