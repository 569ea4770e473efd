"""The few sentences that several transitions share: which row is meant, and what a row becomes."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from app.jobs.columns import database_now
from app.jobs.store.records import Claim, State
from app.jobs.tables import jobs


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
    key = tuple_(*table.primary_key)
    return and_(guard, key.in_(select(*table.primary_key).where(guard).with_for_update(skip_locked=True, of=table)))


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


def upsert(
    connection: Connection, table: Table, values: dict[str, Any], only_if_new: dict[str, Any] | None = None
) -> None:
    """Insert a row, or overwrite the `values` of the one with its primary key."""
    keys = [column.name for column in table.primary_key]
    # Both dialects say ON CONFLICT, each with a class of its own.
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(values | (only_if_new or {}))
    changed = {name: value for name, value in values.items() if name not in keys}
    if changed:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    connection.execute(statement)
