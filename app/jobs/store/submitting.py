"""What the front door does to rows: queue a job, cancel one."""

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Connection, and_, case, insert, or_

from app.jobs.failures import NotCancellable, QueueFull
from app.jobs.spec import Params, cost, steps_in_all
from app.jobs.store import inputs, reading
from app.jobs.store.records import Job, State
from app.jobs.store.rows import change
from app.jobs.tables import database_now, jobs


def submit(connection: Connection, params: Params, owner: str, warnings: Sequence[str], max_queued: int) -> Job:
    """Insert a queued row and pin the pictures it is made from.  Raises: QueueFull; InputGone."""
    if reading.queue_length(connection) >= max_queued:
        raise QueueFull(max_queued)
    job_id = uuid4().hex
    connection.execute(
        insert(jobs).values(
            id=job_id,
            owner=owner,
            task=params.task,
            model=params.model,
            params=params.model_dump(mode="json"),
            warnings=list(warnings),
            cost=cost(params),
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
    return reading.job(connection, job_id, owner)


def cancel(connection: Connection, job_id: str, owner: str) -> Job:
    """queued -> cancelled; running -> asked to end.  Raises: NotFound; NotCancellable.

    One UPDATE decides between the two, so that a claim cannot come between the question and the answer.
    """
    is_queued = jobs.c.state == State.QUEUED
    change(
        connection,
        and_(jobs.c.id == job_id, jobs.c.owner == owner, or_(is_queued, jobs.c.state == State.RUNNING)),
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
