"""How much a principal may ask for: what was said for its name, else what the settings say for every key.

A limit of 0 is none.  An admin has none but what was said for its name; `local` has none at all.
"""

from dataclasses import astuple, dataclass, fields

from sqlalchemy import Connection, and_, func, select, update

from app.jobs.columns import database_now
from app.jobs.failures import BadPrincipal, QuotaReached, TooCostly
from app.jobs.settings import Settings
from app.jobs.store.records import State
from app.jobs.tables import blobs, jobs, lanes, principals, uploads

# A place in the queue is free as soon as a worker takes a job of the principal's.
_PLACE_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is said for one name; None: what the settings say for every key."""

    requests_per_minute: int | None = None
    queued_jobs: int | None = None
    job_cost: float | None = None
    uploads_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What counts for one name; 0: no limit."""

    requests_per_minute: int = 0
    queued_jobs: int = 0
    job_cost: float = 0
    uploads_mb: int = 0


def set_limits(connection: Connection, name: str, limits: Limits) -> None:
    """Say how much `name` may ask for; what is None stays as it is.

    Raises: BadPrincipal for an impossible limit, or if there is no such principal.
    """
    said = {each.name: value for each in fields(limits) if (value := getattr(limits, each.name)) is not None}
    if wrong := [f"{limit} must be 0 (no limit) to {_MOST}, got {value:g}" for limit, value in said.items()
                 if not 0 <= value <= _MOST]:  # fmt: skip
        raise BadPrincipal("; ".join(wrong))
    is_it = principals.c.name == name
    if connection.execute(select(principals.c.name).where(is_it)).first() is None:
        raise BadPrincipal(f"nobody is called {name!r}: `darkroom keys create` makes a name's first key")
    if said:
        connection.execute(update(principals).where(is_it).values(said))


# What a 32-bit column holds; a cost may be larger, but none that is would ever be developed.
_MOST = 2**31 - 1


def quota(connection: Connection, name: str, settings: Settings) -> Quota:
    """How much `name` may ask for."""
    columns = [principals.c[each.name] for each in fields(Limits)]
    row = connection.execute(select(principals.c.is_admin, *columns).where(principals.c.name == name)).one_or_none()
    if row is None:
        return Quota()
    is_admin, *said = row
    default = Quota() if is_admin else for_every_key(settings)
    values = [own if own is not None else other for own, other in zip(said, astuple(default), strict=True)]
    return Quota(*values)


def for_every_key(settings: Settings) -> Quota:
    """What counts where nothing was said for the name."""
    return Quota(
        settings.key_requests_per_minute, settings.key_queued_jobs, settings.key_job_cost, settings.key_uploads_mb
    )


def check_job(connection: Connection, owner: str, cost: float, settings: Settings) -> None:
    """Refuse a job that is larger than the owner's may be, or one more than may wait.

    Raises: TooCostly; QuotaReached.
    """
    limits = quota(connection, owner, settings)
    check_cost(limits, cost)
    if limits.queued_jobs and _queued(connection, owner) >= limits.queued_jobs:
        raise QuotaReached(f"{limits.queued_jobs} jobs may wait at once with this key", _PLACE_AFTER_S)


def check_cost(limits: Quota, cost: float) -> None:
    """Refuse a job that is larger than any may be.  Raises: TooCostly."""
    if limits.job_cost and cost > limits.job_cost:
        raise TooCostly(cost, limits.job_cost)


def _queued(connection: Connection, owner: str) -> int:
    # By way of the lanes: an owner may have very many jobs that have ended.
    in_lane = and_(jobs.c.owner == lanes.c.owner, jobs.c.priority == lanes.c.priority, jobs.c.model == lanes.c.model)
    query = select(func.count()).select_from(lanes.join(jobs, in_lane))
    return connection.execute(query.where(lanes.c.owner == owner, jobs.c.state == State.QUEUED)).scalar_one()


def check_upload(connection: Connection, owner: str, size_bytes: int, settings: Settings) -> None:
    """Refuse an upload that does not fit beside those the owner keeps.  Raises: QuotaReached."""
    limit = quota(connection, owner, settings).uploads_mb
    if not limit:
        return
    kept = (
        select(func.coalesce(func.sum(blobs.c.size_bytes), 0), func.min(uploads.c.expires_at) - database_now())
        .select_from(uploads.join(blobs))
        .where(uploads.c.owner == owner, uploads.c.expires_at > database_now())
    )
    kept_bytes, first_goes_s = connection.execute(kept).one()
    if kept_bytes + size_bytes > limit * 1_000_000:
        raise QuotaReached(f"{limit} MB of uploads may be kept at once with this key", first_goes_s or _PLACE_AFTER_S)
