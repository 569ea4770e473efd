"""Jobs about images that are there already: an image verified, a step of it decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from app.jobs.database import Transactions
from app.jobs.settings import Settings
from app.jobs.spec import ESTIMATES, PICTURE, DecodeParams, InternalParams, Params, VerifyParams
from app.jobs.store import fairness, reading, submitting
from app.jobs.store.records import Image, Job, State, TrajectoryPart
from app.jobs.store.tallying import ENDED
from app.jobs.tables import files, images, is_internal, jobs


class Inquiries:
    """The store's part that keeps them; every method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Keep them in the database of `transactions`."""
        self._transactions = transactions
        self._settings = settings

    def ask(self, params: InternalParams, owner: str) -> Job:
        """Queue the job, or find the one of this owner's that is under way with the same question.

        Raises: TooCostly; QuotaReached; QueueFull; InputGone.
        """
        with self._transactions.writing() as connection:
            fairness.one_submit_at_a_time(connection, owner)
            same = jobs.c.owner == owner, jobs.c.task == params.task, jobs.c.subject == params.subject
            under_way = select(jobs.c.id).where(*same, jobs.c.state.in_([State.QUEUED, State.RUNNING])).limit(1)
            if (job_id := connection.execute(under_way).scalar()) is not None:
                return reading.job(connection, job_id, owner)
            return submitting.submit(connection, params, owner, (), None, self._settings)

    def decoded(self, image: Image, steps: range) -> dict[int, Mapping[str, Any]]:
        """What came of decoding these steps of the image, of those that are decoded already."""
        subjects = {f"{image.id}/{step}": step for step in steps}
        query = select(jobs.c.subject, jobs.c.result).where(
            jobs.c.subject.in_(subjects), jobs.c.task == "decode", jobs.c.state == State.SUCCEEDED
        )
        with self._transactions.reading() as connection:
            return {subjects[row.subject]: row.result for row in connection.execute(query)}


def forget(connection: Connection, image_ids: Sequence[str]) -> tuple[str, ...]:
    """Delete the jobs about images that are removed; returns the keys of the files that they made."""
    about = func.substr(jobs.c.subject, 1, 32).in_(image_ids)
    # What is not counted yet, or runs, goes like any old job.
    ids = select(jobs.c.id).where(is_internal, about, jobs.c.state.in_(ENDED), jobs.c.is_tallied.is_(True))
    gone = connection.execute(ids).scalars().all()
    keys = connection.execute(delete(files).where(files.c.job_id.in_(gone)).returning(files.c.key)).scalars().all()
    connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
    return tuple(keys)


def keys_of(connection: Connection, params: Params) -> dict[str, str]:
    """Where the files lie that an internal job needs of its image, by role; none if they are gone."""
    if not isinstance(params, VerifyParams | DecodeParams):
        return {}
    query = select(images.c.key, images.c.trajectory).where(images.c.id == params.image)
    row = connection.execute(query).one_or_none()
    if row is None:
        return {}
    if isinstance(params, VerifyParams):
        return {PICTURE: row.key}
    parts = [TrajectoryPart(**part) for part in row.trajectory or ()]
    keys = [part.key for part in parts if part.holds(params.step)]
    return {ESTIMATES: keys[0]} if keys else {}
