"""The pictures that jobs are made from: which blob a job pins, who may name an upload, what nobody needs.

A blob's file is written before its row and deleted after it, and its key is never used twice.  So a row always has
its file, and who deletes a file whose row is gone can only hit what nobody will ever pin.  Whoever pins a blob
touches its row in the same transaction: a sweep that would delete it sees the touch, or comes first and is seen.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import itemgetter
from secrets import token_hex
from uuid import uuid4

from sqlalchemy import Connection, Row, Select, delete, exists, insert, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.jobs.columns import database_now
from app.jobs.failures import InputGone, NotFound, StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.spec import Given
from app.jobs.store import quotas
from app.jobs.store.records import Blob, Upload
from app.jobs.tables import blobs, job_inputs, uploads

# What is deleted by one statement, so that no transaction lasts.
_AT_ONCE = 500

BLOB_FILE = re.compile(r"blobs/(?P<sha256>[0-9a-f]{64})-(?P<made_at>[0-9a-f]{9})-[0-9a-f]{8}\.png(\.tmp)?")


def new_blob_key(connection: Connection, sha256: str) -> str:
    """A key for a blob's file that nobody ever had; it says when, by the database's clock."""
    now = connection.execute(select(database_now())).scalar_one()
    return f"blobs/{sha256}-{int(now):09x}-{token_hex(4)}.png"


def find_blob(connection: Connection, sha256: str) -> Blob | None:
    """The blob of these bytes, touched, so that no sweep frees it for a while; None if there is none."""
    touched = update(blobs).where(blobs.c.sha256 == sha256).values(touched_at=database_now()).returning(*blobs.c)
    row = connection.execute(touched).one_or_none()
    return None if row is None else _blob(row)


def add_blob(connection: Connection, blob: Blob, unpinned_s: float) -> Blob:
    """Write the row of a blob whose file lies there; if somebody was first, their row, touched, and their file.

    Raises: StoreUnavailable if the file was written so long ago that a sweep may have taken it for forgotten.
    """
    now = connection.execute(select(database_now())).scalar_one()
    if now - _made_at(blob.key) > unpinned_s / 2:
        raise StoreUnavailable("the blob was written too long ago to be sure that it is still there")
    # Both dialects say ON CONFLICT, each with a class of its own.
    insert_or = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = {
        "sha256": blob.sha256,
        "key": blob.key,
        "width": blob.given.width,
        "height": blob.given.height,
        "size_bytes": blob.size_bytes,
        "marks": sorted(blob.given.marks),
        "touched_at": database_now(),
    }
    statement = (
        insert_or(blobs)
        .values(values)
        .on_conflict_do_update(index_elements=["sha256"], set_={"touched_at": database_now()})
        .returning(*blobs.c)
    )
    return _blob(connection.execute(statement).one())


def pin(connection: Connection, job_id: str, pictures: Mapping[str, str]) -> None:
    """Let the job keep its pictures, by role and sha256.  Raises: InputGone."""
    # In one order for all, so that no two submits wait for each other.
    for role, sha256 in sorted(pictures.items(), key=itemgetter(1)):
        if find_blob(connection, sha256) is None:
            raise InputGone(role)
        connection.execute(insert(job_inputs).values(job_id=job_id, role=role, sha256=sha256))


def keys_of(connection: Connection, job_id: str) -> dict[str, str]:
    """Where a job's pictures lie, by role."""
    query = select(job_inputs.c.role, blobs.c.key).join(blobs).where(job_inputs.c.job_id == job_id)
    return {row.role: row.key for row in connection.execute(query)}


def add_upload(connection: Connection, sha256: str, owner: str, settings: Settings) -> Upload:
    """Let `owner` name the blob for a while.  Raises: InputGone; QuotaReached."""
    blob = find_blob(connection, sha256)
    if blob is None:
        raise InputGone("upload")
    quotas.check_upload(connection, owner, blob.size_bytes, settings)
    upload_id = uuid4().hex
    times = {"created_at": database_now(), "expires_at": database_now() + settings.upload_s}
    connection.execute(insert(uploads).values(id=upload_id, owner=owner, sha256=sha256, **times))
    return upload(connection, upload_id, owner)


def has_uploaded(connection: Connection, sha256: str, owner: str) -> bool:
    """Whether an upload of the owner's names the blob."""
    is_theirs = (uploads.c.sha256 == sha256, uploads.c.owner == owner, uploads.c.expires_at > database_now())
    return connection.execute(select(uploads.c.id).where(*is_theirs).limit(1)).first() is not None


def upload(connection: Connection, upload_id: str, owner: str) -> Upload:
    """One upload that has not expired.  Raises: NotFound."""
    query = _uploads().where(uploads.c.id == upload_id, uploads.c.owner == owner, uploads.c.expires_at > database_now())
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no upload {upload_id!r}")
    return Upload(row.id, row.owner, _blob(row), datetime.fromtimestamp(row.expires_at, UTC))


def forget_uploads(connection: Connection) -> int:
    """Forget the uploads that have expired; returns how many."""
    return connection.execute(delete(uploads).where(uploads.c.expires_at <= database_now())).rowcount


def free_blobs(connection: Connection, unpinned_s: float) -> tuple[str, ...]:
    """Forget some blobs that nothing pins and nobody touched for so long; returns the keys of their files."""
    is_pinned = exists().where(job_inputs.c.sha256 == blobs.c.sha256)
    is_named = exists().where(uploads.c.sha256 == blobs.c.sha256)
    is_unwanted = (
        blobs.c.touched_at <= database_now() - unpinned_s,
        not_(is_pinned),
        not_(is_named),
    )
    some = select(blobs.c.sha256).where(*is_unwanted).limit(_AT_ONCE).with_for_update(skip_locked=True)
    found = connection.execute(some).scalars().all()
    # Asked again, by a statement that began after the rows were locked: in PostgreSQL the first one may have begun
    # before somebody pinned what it found.
    freed = delete(blobs).where(blobs.c.sha256.in_(found), *is_unwanted).returning(blobs.c.key)
    return tuple(connection.execute(freed).scalars())


def orphans(connection: Connection, keys: Iterable[str], unpinned_s: float) -> set[str]:
    """Those blob files that have no row, and were begun too long ago to get one; other keys are never orphans."""
    found = {key: key.removesuffix(".tmp") for key in keys if BLOB_FILE.fullmatch(key)}
    if not found:
        return set()
    now = connection.execute(select(database_now())).scalar_one()
    kept = set(connection.execute(select(blobs.c.key).where(blobs.c.key.in_(sorted(set(found.values()))))).scalars())
    return {
        name for name, key in found.items() if now - _made_at(key) > unpinned_s and (key not in kept or name != key)
    }


def _made_at(key: str) -> int:
    match = BLOB_FILE.fullmatch(key)
    if match is None:
        raise ValueError(f"the key of a blob must be one of new_blob_key, got {key!r}")
    return int(match["made_at"], 16)


def _uploads() -> Select[tuple[object, ...]]:
    return select(uploads.c.id, uploads.c.owner, uploads.c.expires_at, *blobs.c).join(blobs)


def _blob(row: Row[tuple[object, ...]]) -> Blob:
    return Blob(Given(row.sha256, row.width, row.height, frozenset(row.marks)), row.key, row.size_bytes)
