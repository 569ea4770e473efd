"""Rows as their owner may see them, or an admin.  Nothing here changes anything, or takes a lock."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, overload

from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, Select, Table, func, select, true

from app.jobs import tables
from app.jobs.failures import BadCursor, NotFound
from app.jobs.spec import read_params, read_picture_params
from app.jobs.store import fairness
from app.jobs.store.records import (
    Image,
    Job,
    JobFailure,
    Page,
    Priority,
    Progress,
    State,
    Timings,
    TrajectoryPart,
)

# All but the words, by which they are found.
_SHOWN = [column for column in tables.images.c if column.name != "words"]
IMAGES = select(*_SHOWN, tables.jobs.c.params).join(tables.jobs)
"""Images with the recipes of their jobs: rows for `images_of`."""

is_kept = tables.images.c.deleted_at.is_(None)
"""The images that nobody deleted."""

# A longer number would fit into no integer column.
_CURSOR = re.compile(r"[0-9]{1,18}")


def belongs(table: FromClause, owner: str | None) -> ColumnElement[bool]:
    """The owner's rows; everybody's where there is no owner."""
    return true() if owner is None else table.c.owner == owner


def job(connection: Connection, job_id: str, owner: str | None) -> Job:
    """One job with its images.  Raises: NotFound."""
    query = select(tables.jobs).where(tables.jobs.c.id == job_id, belongs(tables.jobs, owner))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return _with_images(connection, [row])[0]


def jobs(
    connection: Connection, owner: str | None, state: str | None, task: str | None, limit: int, cursor: str | None
) -> Page[Job]:
    """The owner's jobs, newest first; internal ones only where their task is named.  Raises: BadCursor."""
    wanted = [belongs(tables.jobs, owner)]
    if state is not None:
        wanted.append(tables.jobs.c.state == state)
    if state not in (None, State.SUCCEEDED):
        # Few jobs are in these states, and an index knows which; in the order of arrival all of them are looked at.
        few = select(tables.jobs.c.number).where(tables.jobs.c.state == state).correlate(None)
        wanted.append(tables.jobs.c.number.in_(few))
    wanted.append(tables.jobs.c.subject.is_(None) if task is None else tables.jobs.c.task == task)
    rows, following = _page(connection, tables.jobs, select(tables.jobs).where(*wanted), limit, cursor)
    return Page(tuple(_with_images(connection, rows)), following)


def image(connection: Connection, image_id: str, owner: str | None) -> Image:
    """One published image that was not deleted.  Raises: NotFound."""
    query = IMAGES.where(tables.images.c.id == image_id, belongs(tables.images, owner), is_kept)
    found = images_of(connection, connection.execute(query).mappings().all())
    if not found:
        raise NotFound(f"there is no image {image_id!r}")
    return found[0]


def some_images(connection: Connection, ids: Sequence[str], owner: str | None) -> list[Image]:
    """Those of these images that are the owner's and were not deleted, in the order they are named, each once."""
    query = IMAGES.where(tables.images.c.id.in_(ids), belongs(tables.images, owner), is_kept)
    found = {image.id: image for image in images_of(connection, connection.execute(query).mappings().all())}
    return [found[id] for id in dict.fromkeys(ids) if id in found]


def images_of(connection: Connection, rows: Sequence[RowMapping]) -> list[Image]:
    """The images of these rows of `IMAGES`, in their order."""
    tagged: dict[int, list[str]] = defaultdict(list)
    if rows:
        tags = tables.image_tags.c
        query = select(tags.number, tags.tag).where(tags.number.in_([row["number"] for row in rows])).order_by(tags.tag)
        for number, tag in connection.execute(query):
            tagged[number].append(tag)
    return [_image(row, tagged[row["number"]]) for row in rows]


def before(number: ColumnElement[int], cursor: str | None) -> ColumnElement[bool]:
    """The rows of the page that a cursor names.  It is the last number the caller has seen.  Raises: BadCursor."""
    if cursor is None:
        return true()
    if not _CURSOR.fullmatch(cursor):
        raise BadCursor("the cursor must be one that an earlier page named")
    return number < int(cursor)


def position(connection: Connection, job_id: str) -> int | None:
    """How many queued jobs are taken before this one, as things stand; None unless it is queued."""
    columns = tables.jobs.c.priority, tables.jobs.c.tag, tables.jobs.c.number
    query = select(*columns).where(tables.jobs.c.id == job_id, tables.jobs.c.state == State.QUEUED)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    is_before = fairness.is_before(Priority(row.priority), row.tag, row.number)
    return connection.execute(select(func.count()).select_from(tables.jobs).where(is_before)).scalar_one()


def queue_length(connection: Connection) -> int:
    """How many jobs are queued."""
    query = select(func.count()).select_from(tables.jobs).where(tables.jobs.c.state == State.QUEUED)
    return connection.execute(query).scalar_one()


def _page(
    connection: Connection, table: Table, query: Select[Any], limit: int, cursor: str | None
) -> tuple[Sequence[RowMapping], str | None]:
    """One page by the order of arrival."""
    wanted = query.where(before(table.c.number, cursor)).order_by(table.c.number.desc()).limit(limit + 1)
    rows = connection.execute(wanted).mappings().all()
    following = str(rows[limit - 1]["number"]) if len(rows) > limit else None
    return rows[:limit], following


def _with_images(connection: Connection, rows: Sequence[RowMapping]) -> list[Job]:
    # Only a job that was read as succeeded: its images are committed with that state, so none can be missing.
    succeeded = [row["id"] for row in rows if row["state"] == State.SUCCEEDED]
    published: dict[str, list[Image]] = defaultdict(list)
    if succeeded:
        query = IMAGES.where(tables.images.c.job_id.in_(succeeded), is_kept).order_by(tables.images.c.index)
        for image in images_of(connection, connection.execute(query).mappings().all()):
            published[image.job_id].append(image)
    return [_job(row, published[row["id"]]) for row in rows]


def _job(row: RowMapping, images: list[Image]) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        task=row["task"],
        model=row["model"],
        model_revision=row["model_revision"],
        params=read_params(row["params"]),
        warnings=tuple(row["warnings"]),
        cost=row["cost"],
        priority=Priority(row["priority"]),
        state=State(row["state"]),
        attempt=row["attempt"],
        losses=row["losses"],
        infra_failures=row["infra_failures"],
        cancel_requested=row["cancel_requested"],
        progress=Progress(row["step"], row["steps"]),
        error=None if row["error_code"] is None else JobFailure(row["error_code"], row["error_message"]),
        timings=_timings(row),
        images=tuple(images),
        created_at=_aware(row["created_at"]),
        started_at=_aware(row["started_at"]),
        finished_at=_aware(row["finished_at"]),
        result=row["result"],
    )


def _image(row: RowMapping, tags: Sequence[str]) -> Image:
    return Image(
        id=row["id"],
        job_id=row["job_id"],
        index=row["index"],
        owner=row["owner"],
        seed=row["seed"],
        width=row["width"],
        height=row["height"],
        format=row["format"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        key=row["key"],
        thumbnail_key=row["thumbnail_key"],
        model_revision=row["model_revision"],
        fingerprint=row["fingerprint"],
        created_at=_aware(row["created_at"]),
        params=read_picture_params(row["params"]),
        trajectory=tuple(TrajectoryPart(**part) for part in row["trajectory"] or ()),
        favourite=row["favourite"],
        rating=row["rating"],
        tags=tuple(tags),
        deleted_at=_aware(row["deleted_at"]),
    )


def _timings(row: RowMapping) -> Timings | None:
    if row["timings"] is None:
        return None
    return Timings(queued_s=row["started_at"] - row["created_at"], **row["timings"])


@overload
def _aware(seconds: float) -> datetime: ...
@overload
def _aware(seconds: None) -> None: ...
def _aware(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
