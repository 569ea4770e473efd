"""Signed in on the pages: a session stands for the key that began it, and ends with it.

A browser keeps a random token; the database keeps its SHA-256, as it does of a key's secret.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from app.jobs.columns import database_now
from app.jobs.store import admitting
from app.jobs.tables import keys, sessions

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that was just begun.  `token` is told to one browser, and nowhere kept."""

    token: str
    lasts_s: float


def begin(connection: Connection, key_id: str, lasts_s: float) -> NewSession:
    """A session of whoever has the key; those that have run out, anybody's, are forgotten."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= database_now()))
    token = secrets.token_urlsafe(32)
    times = {"created_at": database_now(), "expires_at": database_now() + lasts_s}
    connection.execute(insert(sessions).values(token_sha256=_digest(token), key_id=key_id, **times))
    return NewSession(token, lasts_s)


def key_of(connection: Connection, token: str) -> str | None:
    """The id of the key whose session that is; None if there is no such session, or the key lets nobody in."""
    if not _TOKEN.fullmatch(token):
        return None
    # Found by its digest: whoever tries tokens learns nothing from how long a lookup takes.
    query = select(sessions.c.key_id).join(keys).where(sessions.c.token_sha256 == _digest(token))
    lasting = query.where(sessions.c.expires_at > database_now(), admitting.is_valid())
    found: str | None = connection.execute(lasting).scalar_one_or_none()
    return found


def end(connection: Connection, token: str) -> None:
    """Forget the session, if there is one."""
    connection.execute(delete(sessions).where(sessions.c.token_sha256 == _digest(token)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
