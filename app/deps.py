"""What routes ask for by type: the house with its store, and who is asking."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from redis import Redis

from app.errors import NotFound, UnsupportedMedia
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import Job, Store
from app.watching import Watch

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class House:
    """Everything a request may need, opened once for the process."""

    settings: Settings
    store: Store
    storage: Storage
    redis: Redis
    watch: Watch


def house(request: Request) -> House:
    """The house this process keeps."""
    opened: House = request.app.state.house
    return opened


async def owner() -> str:
    """Whose jobs and images the request may see; `local` while no keys exist."""
    return "local"


async def known_id(id: Annotated[str, Path(description="32 hexadecimal digits")]) -> str:
    """An id that may exist; the database is not asked about others.  Raises: NotFound."""
    if not _ID.fullmatch(id):
        raise NotFound("No such thing is known here.")
    return id


async def json_only(request: Request) -> None:
    """Refuse a body that does not call itself JSON.  Raises: UnsupportedMedia."""
    _check_kind(request, "application/json")


async def form_only(request: Request) -> None:
    """Refuse a body that is not what a form without files sends.  Raises: UnsupportedMedia."""
    _check_kind(request, "application/x-www-form-urlencoded")


def _check_kind(request: Request, kind: str) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise UnsupportedMedia(f"Content-Type must be {kind}.")


Inside = Annotated[House, Depends(house)]
Owner = Annotated[str, Depends(owner)]
Id = Annotated[str, Depends(known_id)]


async def own_job(id: Id, house: Inside, owner: Owner) -> Job:
    """The job in the path, if it is the caller's.  Raises: NotFound."""
    return await run_in_threadpool(house.store.get, id, owner)


OwnJob = Annotated[Job, Depends(own_job)]
