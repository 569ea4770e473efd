"""A worker's last word about an attempt.  The commit of `finish` is the publication of the images."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import assert_never
from uuid import uuid4

from sqlalchemy import Connection, and_, insert, not_, select

from app.jobs.columns import database_now
from app.jobs.search import words
from app.jobs.spec import AboutImage, PictureParams
from app.jobs.store.outcomes import Answered, Cancelled, Failed, Outcome, Succeeded
from app.jobs.store.records import Claim, State
from app.jobs.store.rows import change, ended, held
from app.jobs.tables import files, images, jobs


def finish(connection: Connection, claim: Claim, outcome: Outcome) -> bool:
    """running -> the outcome's state; once a cancel is asked for, -> cancelled whatever the outcome.

    Returns whether the job ended as the outcome says.
    Raises: ValueError if a success does not bring each of the job's images once.
    """
    wanted = and_(held(claim), not_(jobs.c.cancel_requested))
    match outcome:
        case Succeeded():
            _check_complete(claim, outcome)
            facts = {
                "step": jobs.c.steps,
                "timings": dict(outcome.timings),
                "model_revision": outcome.model_revision,
            }
            if change(connection, wanted, ended(State.SUCCEEDED) | facts):
                _publish(connection, claim, outcome)
                return True
        case Answered():
            facts = {
                "step": jobs.c.steps,
                "timings": dict(outcome.timings),
                "model_revision": outcome.model_revision,
                "result": dict(outcome.result),
            }
            if change(connection, wanted, ended(State.SUCCEEDED) | facts):
                if outcome.decoded_key is not None:
                    _add_files(connection, claim, decoded=[outcome.decoded_key])
                return True
        case Failed(code, message):
            if change(connection, wanted, ended(State.FAILED, code, message)):
                return True
        case Cancelled():
            return bool(change(connection, held(claim), ended(State.CANCELLED)))
        case _:
            assert_never(outcome)
    change(connection, and_(held(claim), jobs.c.cancel_requested), ended(State.CANCELLED))
    return False


def is_still_held(connection: Connection, claim: Claim) -> bool:
    """Whether the attempt goes on: nothing that was said about it has been committed."""
    return connection.execute(select(jobs.c.id).where(held(claim))).first() is not None


def has_ended_so(connection: Connection, claim: Claim, outcome: Outcome) -> bool:
    """Whether this very attempt ended as the outcome says."""
    ended_so = and_(jobs.c.id == claim.job_id, jobs.c.attempt == claim.attempt, jobs.c.state == _state_of(outcome))
    return connection.execute(select(jobs.c.id).where(ended_so)).first() is not None


def _state_of(outcome: Outcome) -> State:
    match outcome:
        case Succeeded() | Answered():
            return State.SUCCEEDED
        case Failed():
            return State.FAILED
        case Cancelled():
            return State.CANCELLED


def _check_complete(claim: Claim, outcome: Succeeded) -> None:
    indexes = sorted(image.index for image in outcome.images)
    if indexes != list(range(claim.params.num_images)):
        raise ValueError(f"images must have the indexes 0..{claim.params.num_images - 1}, got {indexes}")


def _publish(connection: Connection, claim: Claim, outcome: Succeeded) -> None:
    params = _picture_params(claim)
    for image in outcome.images:
        kept = {"trajectory": [asdict(part) for part in image.trajectory]} if image.trajectory else {}
        steps = [part.key for part in image.trajectory]
        _add_files(connection, claim, image=[image.key], thumbnail=[image.thumbnail_key], trajectory=steps)
        connection.execute(
            insert(images).values(
                id=uuid4().hex,
                job_id=claim.job_id,
                index=image.index,
                owner=claim.owner,
                seed=image.seed,
                width=image.width,
                height=image.height,
                format=params.format,
                sha256=image.sha256,
                size_bytes=image.size_bytes,
                key=image.key,
                thumbnail_key=image.thumbnail_key,
                model_revision=outcome.model_revision,
                fingerprint=outcome.fingerprint,
                created_at=database_now(),
                task=params.task,
                model=params.model,
                sampler=params.sampler,
                steps=params.steps,
                words=words(params.prompt),
                **kept,
            )
        )


def _picture_params(claim: Claim) -> PictureParams:
    if isinstance(claim.params, AboutImage):
        raise ValueError(f"a job that makes pictures must be of a task of theirs, got {claim.params.task}")
    return claim.params


def _add_files(connection: Connection, claim: Claim, **keys: Sequence[str]) -> None:
    """Say that the attempt published these files, by their kinds."""
    of_attempt = {"job_id": claim.job_id, "attempt": claim.attempt}
    rows = [{"key": key, "kind": kind, **of_attempt} for kind, some in keys.items() for key in some]
    connection.execute(insert(files), rows)
