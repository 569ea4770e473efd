"""What the front door does to rows: queue a job, cancel one."""

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Connection, and_, case, insert, or_, select

from app.jobs.columns import database_now
from app.jobs.expectation import Expected
from app.jobs.failures import IdempotencyConflict, NotCancellable, QueueFull
from app.jobs.settings import Settings
from app.jobs.spec import Params, cost, steps_in_all
from app.jobs.store import dialects, fairness, inputs, quotas, reading
from app.jobs.store.records import Idempotency, Job, Priority, State
from app.jobs.store.rows import change, upsert
from app.jobs.tables import jobs, lanes


def submit(
    connection: Connection,
    params: Params,
    owner: str,
    warnings: Sequence[str],
    idempotency: Idempotency | None,
    settings: Settings,
    expected: Expected | None = None,
) -> Job:
    """Insert a queued row and pin the pictures it is made from; or find the row that the same request made before.

    What is `expected` of the job is kept with it, to be learned from.
    Raises: TooCostly; QuotaReached; QueueFull; InputGone; IdempotencyConflict.
    """
    priority = Priority(params.priority)
    fairness.one_submit_at_a_time(connection, owner)
    if idempotency is not None and (known := made_before(connection, owner, idempotency)):
        return known
    quotas.check_job(connection, owner, cost(params), settings)
    if reading.queue_length(connection) >= settings.max_queued_jobs:
        raise QueueFull(settings.max_queued_jobs)
    job_id, start_tag = uuid4().hex, fairness.start_tag(connection, owner, priority)
    connection.execute(
        insert(jobs).values(
            id=job_id,
            owner=owner,
            task=params.task,
            model=params.model,
            second_model=params.second_model,
            fingerprint=params.fingerprint,
            subject=params.subject,
            params=params.model_dump(mode="json"),
            warnings=list(warnings),
            cost=cost(params),
            priority=priority,
            start_tag=start_tag,
            tag=fairness.tag(connection, owner, start_tag, cost(params)),
            expected_start_s=None if expected is None else expected.start_s,
            expected_finish_s=None if expected is None else expected.finish_s,
            idempotency_key=None if idempotency is None else idempotency.key,
            body_sha256=None if idempotency is None else idempotency.body_sha256,
            state=State.QUEUED,
            attempt=0,
            losses=0,
            solo=False,
            infra_failures=0,
            cancel_requested=False,
            step=0,
            steps=steps_in_all(params),
            created_at=database_now(),
            queued_at=database_now(),
            not_before=database_now(),
        )
    )
    inputs.pin(connection, job_id, params.inputs)
    lane = {"owner": owner, "priority": priority, "model": params.model}
    upsert(connection, lanes, lane | {"used_at": database_now()})
    return reading.job(connection, job_id, owner)


def made_before(connection: Connection, owner: str, idempotency: Idempotency) -> Job | None:
    """The job that this very request made; None if none did.  Raises: IdempotencyConflict."""
    query = select(jobs.c.id, jobs.c.body_sha256).where(
        jobs.c.owner == owner, jobs.c.idempotency_key == idempotency.key
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return dialects.asked_lately(connection, owner, idempotency) if idempotency.again_s > 0 else None
    if row.body_sha256 != idempotency.body_sha256:
        raise IdempotencyConflict("the idempotency key was used before, for another request")
    return reading.job(connection, row.id, owner)


def cancel(connection: Connection, job_id: str, owner: str | None) -> Job:
    """queued -> cancelled; running -> asked to end.  Raises: NotFound; NotCancellable.

    One UPDATE decides between the two, so that a claim cannot come between the question and the answer.
    """
    is_queued = jobs.c.state == State.QUEUED
    change(
        connection,
        and_(jobs.c.id == job_id, reading.belongs(jobs, owner), or_(is_queued, jobs.c.state == State.RUNNING)),
        {
            "state": case((is_queued, State.CANCELLED), else_=jobs.c.state),
            "finished_at": case((is_queued, database_now()), else_=None),
            "cancel_requested": True,
        },
    )
    job = reading.job(connection, job_id, owner)
    if job.state in (State.SUCCEEDED, State.FAILED):
        raise NotCancellable(job_id, job.state)
    return job
