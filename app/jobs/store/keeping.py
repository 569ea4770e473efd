"""What owners do with their images: say what they think of them, delete them, take that back.

Whoever changes images locks their rows first, in one order for all, so that no two who change several wait for each
other.  A deleted image is kept as it is, seen by nobody, until it is removed; then its rows go, and its files after.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, true, update

from app.jobs.columns import database_now
from app.jobs.failures import NotFound, TooManyTags
from app.jobs.search import MAX_TAGS
from app.jobs.store import inquiries
from app.jobs.store.reading import belongs, is_kept
from app.jobs.store.records import Opinion
from app.jobs.tables import files, image_tags, images

# What is removed by one transaction.
_AT_ONCE = 200


def judge(connection: Connection, image_id: str, owner: str | None, opinion: Opinion) -> None:
    """Write what the owner says of an image.  Raises: NotFound; TooManyTags."""
    rows = _locked(connection, [image_id], owner, is_kept)
    if not rows:
        raise NotFound(f"there is no image {image_id!r}")
    said = {"favourite": opinion.favourite, "rating": opinion.rating}
    values = {name: value for name, value in said.items() if value is not None}
    if values:
        connection.execute(update(images).where(images.c.number == rows[0].number).values(values))
    if opinion.tags is not None:
        connection.execute(delete(image_tags).where(image_tags.c.number == rows[0].number))
        _add_tags(connection, rows, set(opinion.tags))


def tag(
    connection: Connection, ids: Collection[str], owner: str | None, add: Iterable[str], remove: Iterable[str]
) -> frozenset[str]:
    """Take tags from images and put others on them; returns the ids of those there are.  Raises: TooManyTags."""
    rows = _locked(connection, ids, owner, is_kept)
    numbers = [row.number for row in rows]
    gone = [*remove, *add]
    connection.execute(delete(image_tags).where(image_tags.c.number.in_(numbers), image_tags.c.tag.in_(gone)))
    _add_tags(connection, rows, set(add))
    return frozenset(row.id for row in rows)


def remove(connection: Connection, ids: Collection[str], owner: str | None) -> frozenset[str]:
    """Delete images, for the time being; returns the ids of those there are, deleted before or now."""
    return _mark(connection, ids, owner, images.c.deleted_at.is_(None), database_now())


def restore(connection: Connection, ids: Collection[str], owner: str | None) -> frozenset[str]:
    """Take the deletion of images back; returns the ids of those there are, deleted before or not."""
    return _mark(connection, ids, owner, images.c.deleted_at.is_not(None), None)


def forget(connection: Connection, kept_s: float) -> tuple[str, ...]:
    """Remove some of the images that were deleted so long ago; returns the keys of the files to delete."""
    is_due = images.c.deleted_at <= database_now() - kept_s
    named = images.c.number, images.c.id, images.c.job_id, images.c.key
    some = select(*named).where(is_due).order_by(images.c.deleted_at).limit(_AT_ONCE)
    rows = connection.execute(some.with_for_update(skip_locked=True)).all()
    if not rows:
        return ()
    connection.execute(delete(images).where(images.c.number.in_([row.number for row in rows])))
    # All that was made of a picture is named as it is, up to the full stop.
    stems = {row.key.partition(".")[0] for row in rows}
    of_its_job = select(files.c.key).where(files.c.job_id.in_({row.job_id for row in rows}))
    keys = [key for key in connection.execute(of_its_job).scalars() if key.partition(".")[0] in stems]
    connection.execute(delete(files).where(files.c.key.in_(keys)))
    return (*keys, *inquiries.forget(connection, [row.id for row in rows]))


def add_file(connection: Connection, image_id: str, key: str, kind: str) -> bool:
    """Say that a file made of an image will lie under `key`; returns whether there still is such an image.

    The row comes before the file: without it the file of a job that has ended is an orphan.
    """
    rows = _locked(connection, [image_id], None, true())
    if not rows:
        return False
    known = select(files.c.key).where(files.c.key == key)
    if connection.execute(known).first() is None:
        of = select(files.c.job_id, files.c.attempt).where(files.c.key == rows[0].key)
        job_id, attempt = connection.execute(of).one()
        connection.execute(insert(files).values(key=key, kind=kind, job_id=job_id, attempt=attempt))
    return True


def _mark(
    connection: Connection,
    ids: Collection[str],
    owner: str | None,
    is_other: ColumnElement[bool],
    deleted_at: ColumnElement[float] | None,
) -> frozenset[str]:
    rows = _locked(connection, ids, owner, true())
    mine = images.c.number.in_([row.number for row in rows])
    connection.execute(update(images).where(mine, is_other).values(deleted_at=deleted_at))
    return frozenset(row.id for row in rows)


def _locked(
    connection: Connection, ids: Collection[str], owner: str | None, which: ColumnElement[bool]
) -> list[Row[int, str, str, str]]:
    """The owner's images among `ids`, which nobody else changes until this transaction ends."""
    columns = images.c.number, images.c.id, images.c.owner, images.c.key
    query = select(*columns).where(images.c.id.in_(ids), belongs(images, owner), which).order_by(images.c.number)
    return list(connection.execute(query.with_for_update()).all())


def _add_tags(connection: Connection, rows: Collection[Row[int, str, str, str]], tags: set[str]) -> None:
    """Put tags on images that do not have them.  Raises: TooManyTags."""
    if not rows or not tags:
        return
    connection.execute(
        insert(image_tags), [{"number": row.number, "owner": row.owner, "tag": tag} for row in rows for tag in tags]
    )
    mine = image_tags.c.number.in_([row.number for row in rows])
    count = select(image_tags.c.number).where(mine).group_by(image_tags.c.number).having(func.count() > MAX_TAGS)
    if connection.execute(count.limit(1)).first() is not None:
        raise TooManyTags(MAX_TAGS)
