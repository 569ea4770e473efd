"""Retention: rows that are too old go, and with them what they publish.  Their files are deleted after them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, select

from app.jobs.columns import database_now
from app.jobs.store.tallying import ENDED
from app.jobs.tables import files, images, jobs


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went: how many jobs and images, and the keys of the files that nothing names any more."""

    jobs: int
    images: int
    keys: tuple[str, ...]
    last: int | None
    """The number of the newest job that was looked at; None when there are no more."""


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
        return Pruned(0, 0, (), None)
    ids = [row.id for row in rows]
    pictures = connection.execute(select(func.count()).select_from(images).where(images.c.job_id.in_(ids))).scalar_one()
    keys = connection.execute(select(files.c.key).where(files.c.job_id.in_(ids))).scalars().all()
    if not keep:
        _delete(connection, ids)
    return Pruned(len(ids), pictures, tuple(keys), rows[-1].number)


def _delete(connection: Connection, ids: Sequence[str]) -> None:
    # Images name files: they go first.
    for table, column in ((images, images.c.job_id), (files, files.c.job_id), (jobs, jobs.c.id)):
        connection.execute(delete(table).where(column.in_(ids)))
