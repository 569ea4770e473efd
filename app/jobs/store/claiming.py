"""What a worker does to a row while it holds it: claim it, beat for it, give it back."""

from collections.abc import Sequence
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, Row, and_, case, not_, select, tuple_, update

from app.jobs.columns import database_now
from app.jobs.failures import ErrorCode, Reason
from app.jobs.settings import Settings
from app.jobs.spec import read_params
from app.jobs.store import fairness, inputs, inquiries
from app.jobs.store.fairness import Room
from app.jobs.store.records import Beat, Claim, ClaimBeat, State
from app.jobs.store.rows import change, ended, held, queued_again
from app.jobs.tables import jobs, models

log = structlog.get_logger()


def claim_next(connection: Connection, worker: str, room: Room, settings: Settings) -> Claim | None:
    """queued -> running with the next attempt, for the row that is next; None if there is none.

    A row whose params this version cannot read would block the queue for ever; it fails instead.
    """
    while row := _take_next(connection, worker, room, settings):
        try:
            params = read_params(row.params)
            keys = inputs.keys_of(connection, row.id) | inquiries.keys_of(connection, params)
            return Claim(row.id, row.attempt, row.owner, params, keys, row.solo)
        except ValidationError as error:
            log.error("job.unreadable", job_id=row.id, error=str(error))
            code = ErrorCode.BAD_PARAMS
            change(connection, jobs.c.id == row.id, ended(State.FAILED, code, code.message))
    return None


def _take_next(connection: Connection, worker: str, room: Room, settings: Settings) -> Row[Any] | None:
    revision = select(models.c.revision).where(models.c.name == jobs.c.model).scalar_subquery()
    for found, changed in fairness.next_in_line(connection, room, settings.starvation_s):
        take = (
            update(jobs)
            .where(jobs.c.number == found.scalar_subquery())
            .values(
                state=State.RUNNING,
                attempt=jobs.c.attempt + 1,
                worker=worker,
                lease_until=database_now() + settings.lease_s,
                started_at=database_now(),
                model_revision=revision,
                **changed,
            )
            .returning(jobs.c.id, jobs.c.attempt, jobs.c.owner, jobs.c.params, jobs.c.solo)
        )
        if row := connection.execute(take).one_or_none():
            return row
    return None


def beat(connection: Connection, claims: Sequence[ClaimBeat], lease_s: float) -> Beat:
    """Renew every lease and write the progress, in one UPDATE; what it did not reach is lost."""
    reached = connection.execute(
        update(jobs)
        .where(
            tuple_(jobs.c.id, jobs.c.attempt).in_([(claim.job_id, claim.attempt) for claim in claims]),
            jobs.c.state == State.RUNNING,
        )
        .values(
            lease_until=database_now() + lease_s,
            step=case({claim.job_id: claim.step for claim in claims}, value=jobs.c.id),
            steps=case({claim.job_id: claim.steps for claim in claims}, value=jobs.c.id),
        )
        .returning(jobs.c.id, jobs.c.cancel_requested)
    ).all()
    return Beat(
        lost=frozenset(claim.job_id for claim in claims) - {row.id for row in reached},
        cancelled=frozenset(row.id for row in reached if row.cancel_requested),
    )


def give_back(connection: Connection, claim: Claim, reason: Reason, settings: Settings) -> bool:
    """running -> queued after a back-off; failed if it came back too often; cancelled if that was asked."""
    before = connection.execute(select(jobs.c.infra_failures).where(held(claim))).scalar()
    if before is None:
        return False
    # A worker that ends says nothing about the job, so another may take it at once.
    delay_s = 0.0 if reason is Reason.SHUTDOWN else min(settings.max_backoff_s, settings.backoff_s * 2.0**before)
    counted = {"infra_failures": jobs.c.infra_failures + 1}
    code = reason.error_code
    wanted = and_(held(claim), not_(jobs.c.cancel_requested))
    if before < settings.max_infra_failures:
        after = queued_again(delay_s) | counted
    else:
        after = ended(State.FAILED, code, code.message) | counted
    # The order matters: a cancel that comes between the two statements is met by the second.
    return bool(change(connection, wanted, after) or change(connection, held(claim), ended(State.CANCELLED) | counted))
