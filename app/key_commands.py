"""`darkroom keys`: who may use the service, and how much of it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.jobs.settings import load_settings

if TYPE_CHECKING:
    from app.jobs.store import Key, Store

keys = typer.Typer(help="Who may use the service, and how much of it.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Whose key it is: jobs, images and limits belong to this name.")]
Id = Annotated[str, typer.Argument(help="What `keys list` shows first.")]
Requests = Annotated[int | None, typer.Option("--requests-per-minute", help="How often the name may ask; 0: no limit.")]
Queued = Annotated[int | None, typer.Option("--queued-jobs", help="How many of its jobs may wait; 0: no limit.")]
Cost = Annotated[
    float | None, typer.Option("--job-cost", help="The largest job: pixels x steps x images; 0: no limit.")
]
Uploads = Annotated[int | None, typer.Option("--uploads-mb", help="How much it may keep uploaded; 0: no limit.")]


@keys.command("create")
def create_key(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="The name sees everybody's jobs and images.")] = False,
    weight: Annotated[float | None, typer.Option(help="The name's share of the service; 1 unless you say so.")] = None,
    requests_per_minute: Requests = None,
    queued_jobs: Queued = None,
    job_cost: Cost = None,
    uploads_mb: Uploads = None,
) -> None:
    """Make a key and print it: this once, for only its digest is kept."""
    from app.jobs.store import Limits
    from app.jobs.store import migrate as to_newest

    to_newest(load_settings())
    limits = Limits(requests_per_minute, queued_jobs, job_cost, uploads_mb)
    typer.echo(_store().keys.create(name, is_admin=admin, weight=weight, limits=limits).token)


@keys.command("limit")
def limit_name(
    name: Name,
    requests_per_minute: Requests = None,
    queued_jobs: Queued = None,
    job_cost: Cost = None,
    uploads_mb: Uploads = None,
) -> None:
    """Say how much a name may ask for, whichever of its keys it shows; what is not said stays as it is."""
    from app.jobs.store import Limits

    _store().keys.limit(name, Limits(requests_per_minute, queued_jobs, job_cost, uploads_mb))
    quota = _store().keys.quota(name)
    typer.echo(
        f"{name}: requests per minute {_bound(quota.requests_per_minute)}, queued jobs {_bound(quota.queued_jobs)}, "
        f"job cost {_bound(quota.job_cost)}, uploads {_bound(quota.uploads_mb, ' MB')}"
    )


@keys.command("rotate")
def rotate_key(
    id: Id,
    overlap: Annotated[float, typer.Option(min=0, help="For how many hours the old one is good yet.")] = 0,
) -> None:
    """Make another key for the same name and print it; the old one is revoked, after the overlap."""
    typer.echo(_store().keys.rotate(id, overlap * 3600).token)


@keys.command("revoke")
def revoke_key(id: Id) -> None:
    """Let nobody in with this key any more, nor with what was signed in by it."""
    _store().keys.revoke(id)
    typer.echo(f"{id} is revoked.")


@keys.command("list")
def list_keys() -> None:
    """List every key, without its secret, with what was said for its name."""
    for key in _store().keys.all():
        rights = "admin" if key.principal.is_admin else "user"
        typer.echo(f"{key.id}  {key.principal.name}  {rights}  made {_day(key.created_at)}  {_fate(key)}{_said(key)}")


def _store() -> "Store":
    from app.jobs.store import open_store

    return open_store(load_settings())


def _fate(key: "Key") -> str:
    if key.revoked_at is None:
        return f"used {_day(key.last_used_at)}" if key.last_used_at else "never used"
    return f"{'revoked' if key.revoked_at <= datetime.now(UTC) else 'good until'} {_day(key.revoked_at)}"


def _said(key: "Key") -> str:
    limits = key.limits
    said = {
        "weight": None if key.weight == 1 else key.weight,
        "requests-per-minute": limits.requests_per_minute,
        "queued-jobs": limits.queued_jobs,
        "job-cost": limits.job_cost,
        "uploads-mb": limits.uploads_mb,
    }
    return "".join(f"  {name} {value:g}" for name, value in said.items() if value is not None)


def _bound(limit: float, unit: str = "") -> str:
    return f"{limit:g}{unit}" if limit else "without limit"


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
