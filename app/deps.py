"""What routes ask for by type: the house with its store, and who is asking."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from redis import Redis

from app.errors import NotFound, Unauthorized, UnsupportedMedia
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import LOCAL, Job, Principal, Store
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
    is_open: bool = True
    """Whether everybody may do everything while no keys exist."""


def house(request: Request) -> House:
    """The house this process keeps."""
    opened: House = request.app.state.house
    return opened


_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def principal(house: Annotated[House, Depends(house)], shown: _Shown) -> Principal:
    """Who asks: the owner of the key that is shown, or `local` while no keys exist.

    Raises: Unauthorized.
    """
    if shown is not None and (known := house.store.keys.admit(shown.credentials)):
        return known
    if house.store.keys.exist():
        is_wrong = shown is not None
        raise Unauthorized(
            f"{'This key is not valid' if is_wrong else 'This needs a key'}: send `Authorization: Bearer dk_...`.",
            is_wrong=is_wrong,
        )
    if not house.is_open:
        raise Unauthorized("This needs a key, and there are none yet: `darkroom keys create NAME` makes one.")
    return LOCAL


Asking = Annotated[Principal, Depends(principal)]


async def owner(asking: Asking) -> str:
    """Whose the jobs are that the request makes."""
    return asking.name


async def viewer(asking: Asking) -> str | None:
    """Whose jobs and images the request may see; None: everybody's."""
    return asking.sees


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
Viewer = Annotated[str | None, Depends(viewer)]
Id = Annotated[str, Depends(known_id)]


async def own_job(id: Id, house: Inside, viewer: Viewer) -> Job:
    """The job in the path, if it is the caller's.  Raises: NotFound."""
    return await run_in_threadpool(house.store.get, id, viewer)


OwnJob = Annotated[Job, Depends(own_job)]
