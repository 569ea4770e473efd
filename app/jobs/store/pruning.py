"""Retention: rows that are too old go, and with them what they publish.  Their files are deleted after them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, exists, func, not_, select

from app.jobs.columns import database_now
from app.jobs.store import studying
from app.jobs.store.tallying import ENDED
from app.jobs.study_tables import studies, study_answers, study_trials
from app.jobs.tables import files, images, jobs


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went: how many jobs, images and studies, and the keys of the files that nothing names any more."""

    keys: tuple[str, ...] = ()
    jobs: int = 0
    images: int = 0
    studies: int = 0
    last: int | None = None
    """The number of the newest job or study that was looked at; None when there are no more."""


def prune(connection: Connection, older_than_s: float, after: int, at_once: int, *, keep: bool) -> Pruned:
    """Delete some jobs, later than number `after`, that ended so long ago; only count them where `keep`.

    One that a repeated request may still ask for stays, and so does one that is not counted yet.
    """
    is_old = and_(jobs.c.state.in_(ENDED), jobs.c.finished_at < database_now() - older_than_s)
    is_free = jobs.c.idempotency_key.is_(None)
    # Whoever only asks need not have it counted first.
    is_done = is_free if keep else and_(is_free, jobs.c.is_tallied.is_(True))
    some = select(jobs.c.number, jobs.c.id).where(jobs.c.number > after, is_old, is_done).order_by(jobs.c.number)
    rows = connection.execute(some.limit(at_once)).all()
    if not rows:
        return Pruned()
    ids = [row.id for row in rows]
    pictures = connection.execute(select(func.count()).select_from(images).where(images.c.job_id.in_(ids))).scalar_one()
    keys = connection.execute(select(files.c.key).where(files.c.job_id.in_(ids))).scalars().all()
    if not keep:
        _delete(connection, ids)
    return Pruned(tuple(keys), jobs=len(ids), images=pictures, last=rows[-1].number)


def prune_studies(connection: Connection, older_than_s: float, after: int, at_once: int, *, keep: bool) -> Pruned:
    """Delete some studies, later than number `after`, that nobody began or answered since; only count where `keep`."""
    then = database_now() - older_than_s
    trial_of_it = study_trials.c.study_id == studies.c.id
    is_begun = exists().where(trial_of_it, study_trials.c.created_at >= then)
    is_answered = exists().where(
        trial_of_it, study_answers.c.trial_id == study_trials.c.id, study_answers.c.answered_at >= then
    )
    is_old = and_(studies.c.created_at < then, not_(is_begun), not_(is_answered))
    some = select(studies.c.number, studies.c.id).where(studies.c.number > after, is_old).order_by(studies.c.number)
    rows = connection.execute(some.limit(at_once)).all()
    if not rows:
        return Pruned()
    keys = [key for row in rows for pair in studying.pairs(connection, row.id) for key in (pair.a_key, pair.b_key)]
    if not keep:
        connection.execute(delete(studies).where(studies.c.id.in_([row.id for row in rows])))
    return Pruned(tuple(keys), studies=len(rows), last=rows[-1].number)


def _delete(connection: Connection, ids: Sequence[str]) -> None:
    # Images name files: they go first.
    for table, column in ((images, images.c.job_id), (files, files.c.job_id), (jobs, jobs.c.id)):
        connection.execute(delete(table).where(column.in_(ids)))
