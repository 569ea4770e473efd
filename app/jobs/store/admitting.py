"""Who may come in: principals, and the keys that show who one is.

A key is `dk_<id>_<secret>`.  The secret is random and long, so a plain SHA-256 of it keeps it well.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hmac import compare_digest

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from app.jobs.columns import database_now
from app.jobs.failures import BadPrincipal, NotFound
from app.jobs.store.quotas import Limits, set_limits
from app.jobs.tables import keys, principals


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.  Jobs and images belong to the name, not to a key; an admin sees everybody's."""

    name: str
    is_admin: bool
    requests_per_minute: int = field(default=0, compare=False)
    """How often it may ask; 0: as often as it likes."""

    @property
    def sees(self) -> str | None:
        """Whose jobs and images it may see: its own, or everybody's (None)."""
        return None if self.is_admin else self.name


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made.  `token` is the only time its secret is told."""

    id: str
    token: str


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key."""

    id: str
    principal: Principal
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    weight: float
    limits: Limits


NO_LIMITS = Limits()

# Everybody is this principal while there are no keys.
LOCAL = Principal("local", is_admin=False)

# `last_used_at` is for people, who do not need it to the second.
USED_EVERY_S = 60.0

# Whose the key is that a service makes by itself.
FIRST_ADMIN = "admin"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_TOKEN = re.compile(r"dk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


def create_key(
    connection: Connection, name: str, is_admin: bool, weight: float | None, limits: Limits = NO_LIMITS
) -> NewKey:
    """A new key for the principal of that name, who is made if there is none.

    Raises: BadPrincipal for an impossible name, weight or limit, or one who is an admin and should not be, or the
    reverse.
    """
    if not _NAME.fullmatch(name):
        raise BadPrincipal(f"a name must be 1 to 64 letters, digits and any of ._@+-, got {name!r}")
    if weight is not None and not 0 < weight <= 1000:
        raise BadPrincipal(f"a weight must be above 0 and at most 1000, got {weight:g}")
    known = connection.execute(select(principals.c.is_admin).where(principals.c.name == name)).scalar()
    if known is None:
        row = {"name": name, "is_admin": is_admin, "weight": weight or 1.0, "created_at": database_now()}
        connection.execute(insert(principals).values(row))
    elif known != is_admin:
        raise BadPrincipal(f"{name} is {'' if known else 'not '}an admin, and another key does not change that")
    elif weight is not None:
        connection.execute(update(principals).where(principals.c.name == name).values(weight=weight))
    set_limits(connection, name, limits)
    return _new_key(connection, name)


def create_first_key(connection: Connection) -> NewKey | None:
    """An admin's key where there never was a key; None where there is one, or another process makes it just now.

    The admin's row decides: of several processes one inserts it, and the others wait here until it is committed.
    """
    if has_keys(connection):
        return None
    # Both dialects say ON CONFLICT, each with a class of its own.
    insert_into = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {"name": FIRST_ADMIN, "is_admin": True, "weight": 1.0, "created_at": database_now()}
    made = connection.execute(insert_into(principals).values(row).on_conflict_do_nothing().returning(principals.c.name))
    return _new_key(connection, FIRST_ADMIN) if made.first() is not None else None


def _new_key(connection: Connection, name: str) -> NewKey:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    connection.execute(
        insert(keys).values(id=key_id, principal=name, secret_sha256=_digest(secret), created_at=database_now())
    )
    return NewKey(key_id, f"dk_{key_id}_{secret}")


def all_keys(connection: Connection) -> list[Key]:
    """Every key, also those that were revoked, oldest first."""
    query = select(keys, principals.c.is_admin, principals.c.weight, *_LIMITS).join(principals)
    return [
        Key(
            id=row.id,
            principal=Principal(row.principal, row.is_admin),
            created_at=datetime.fromtimestamp(row.created_at, UTC),
            last_used_at=_aware(row.last_used_at),
            revoked_at=_aware(row.revoked_at),
            weight=row.weight,
            limits=Limits(*(row._mapping[column] for column in _LIMITS)),
        )
        for row in connection.execute(query.order_by(keys.c.created_at, keys.c.id))
    ]


_LIMITS = [principals.c[each.name] for each in fields(Limits)]


def revoke_key(connection: Connection, key_id: str, after_s: float = 0.0) -> str:
    """Let nobody in with this key, from so many seconds on at the latest; returns whose it was.  Raises: NotFound."""
    is_it = keys.c.id == key_id
    name: str | None = connection.execute(select(keys.c.principal).where(is_it)).scalar_one_or_none()
    if name is None:
        raise NotFound(f"there is no key {key_id!r}")
    then = database_now() + after_s
    is_sooner = or_(keys.c.revoked_at.is_(None), keys.c.revoked_at > then)
    connection.execute(update(keys).where(and_(is_it, is_sooner)).values(revoked_at=then))
    return name


def rotate_key(connection: Connection, key_id: str, overlap_s: float) -> NewKey:
    """Another key for the same name; the old one is revoked after the overlap.  Raises: NotFound."""
    return _new_key(connection, revoke_key(connection, key_id, overlap_s))


def has_keys(connection: Connection) -> bool:
    """Whether there ever was a key: a service that has been closed does not open because a key is revoked."""
    return connection.execute(select(keys.c.id).limit(1)).first() is not None


def admit(connection: Connection, token: str) -> tuple[Principal, str] | None:
    """Whose key that is, and the key's id; None for anything that is no valid key."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    query = (
        select(principals.c.name, principals.c.is_admin, keys.c.secret_sha256)
        .join(principals, keys.c.principal == principals.c.name)
        .where(keys.c.id == match[1], is_valid())
    )
    row = connection.execute(query).one_or_none()
    # An unknown id is compared too, so that the time it takes says nothing.
    is_right = compare_digest(_digest(match[2]), row.secret_sha256 if row is not None else "0" * 64)
    return (Principal(row.name, row.is_admin), match[1]) if row is not None and is_right else None


def is_valid() -> ColumnElement[bool]:
    """Whether the key in the row still lets somebody in."""
    return func.coalesce(keys.c.revoked_at > database_now(), true())


def owner_of(connection: Connection, key_id: str) -> Principal:
    """Whose key that is; there is one."""
    query = select(principals.c.name, principals.c.is_admin).join(keys).where(keys.c.id == key_id)
    row = connection.execute(query).one()
    return Principal(row.name, row.is_admin)


def is_use_due(connection: Connection, key_id: str) -> bool:
    """Whether it was not written for a while that the key is used."""
    is_old = or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < database_now() - USED_EVERY_S)
    return connection.execute(select(keys.c.id).where(keys.c.id == key_id, is_old)).first() is not None


def write_use(connection: Connection, key_id: str) -> None:
    """Write that the key is used."""
    connection.execute(update(keys).where(keys.c.id == key_id).values(last_used_at=database_now()))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _aware(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
