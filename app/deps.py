"""What routes ask for by type: the house with its store, and who is asking."""

import math
import re
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from redis import Redis

from app.errors import NotFound, TooOften, Unauthorized, UnsupportedMedia
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import LOCAL, Job, Principal, Store
from app.throttle import Throttle
from app.watching import Watch

_ID = re.compile(r"[0-9a-f]{32}")

# Said to readers alone: what cannot be an id is not found, as any other that nothing has.
_DESCRIBED_ID = Path(description="32 hexadecimal digits", json_schema_extra={"pattern": f"^{_ID.pattern}$"})


@dataclass(frozen=True, slots=True)
class House:
    """Everything a request may need, opened once for the process."""

    settings: Settings
    store: Store
    storage: Storage
    redis: Redis
    watch: Watch
    throttle: Throttle
    is_open: bool = True
    """Whether everybody may do everything while no keys exist."""


def house(request: Request) -> House:
    """The house this process keeps."""
    opened: House = request.app.state.house
    return opened


SESSION_COOKIE = "darkroom_session"

_Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(scheme_name="key", description="`dk_<id>_<secret>`", auto_error=False)),
]
_Basic = Annotated[
    HTTPBasicCredentials | None,
    Depends(
        HTTPBasic(
            scheme_name="keyAsPassword",
            description="the key as the password, or as the name where there is no password",
            auto_error=False,
        )
    ),
]
Session = Annotated[
    str | None,
    Depends(
        APIKeyCookie(
            name=SESSION_COOKIE,
            scheme_name="session",
            description="what signing in on the pages sets",
            auto_error=False,
        )
    ),
]


def shown_key(bearer: _Bearer, basic: _Basic) -> str | None:
    """The key in the request's Authorization header, whichever way it is written; None: none is shown."""
    if bearer is not None:
        return bearer.credentials
    return None if basic is None else basic.password or basic.username


def principal(
    request: Request,
    house: Annotated[House, Depends(house)],
    key: Annotated[str | None, Depends(shown_key)],
    session: Session,
) -> Principal:
    """Who asks: the owner of the key or the session that is shown, or `local` while no keys exist.

    A key that is shown counts alone, even if it is wrong.  Raises: Unauthorized; TooOften.
    """
    known = _admitted(house, key, session)
    if known is not LOCAL:
        request.state.is_signed_in = key is None
        _count(house, known)
    return known


def _admitted(house: House, key: str | None, session: str | None) -> Principal:
    """Who comes in with these.  Raises: Unauthorized."""
    keys = house.store.keys
    if known := keys.admit(key) if key is not None else keys.admit_session(session) if session is not None else None:
        return known
    if keys.exist():
        is_wrong = key is not None
        raise Unauthorized(
            f"{'This key is not valid' if is_wrong else 'This needs a key'}: send `Authorization: Bearer dk_...`.",
            is_wrong=is_wrong,
        )
    if not house.is_open:
        raise Unauthorized("This needs a key, and there are none yet: `darkroom keys create NAME` makes one.")
    return LOCAL


def _count(house: House, known: Principal) -> None:
    """Take one from the allowance of whoever asks.  Raises: TooOften."""
    limit = known.requests_per_minute
    if limit and (wait_s := house.throttle.wait_s(known.name, limit)):
        raise TooOften(f"This key may ask {limit} times a minute.", retry_after_s=math.ceil(wait_s))


Asking = Annotated[Principal, Depends(principal)]


@dataclass(frozen=True, slots=True)
class Pass:
    """What somebody came in with, to be looked at again while they wait for an answer."""

    principal: Principal
    key: str | None = field(repr=False)
    session: str | None = field(repr=False)
    house: House = field(repr=False, compare=False)

    @property
    def owner(self) -> str:
        """Whose the jobs are that are asked for with it."""
        return self.principal.name

    def check(self) -> None:
        """Return if it still lets the same principal in.  Raises: Unauthorized; StoreUnavailable."""
        if _admitted(self.house, self.key, self.session) != self.principal:
            raise Unauthorized("Who may ask here has changed: ask again.")


async def shown_pass(
    asking: Asking,
    house: Annotated[House, Depends(house)],
    key: Annotated[str | None, Depends(shown_key)],
    session: Session,
) -> Pass:
    """What the request came in with."""
    return Pass(asking, key, session, house)


Shown = Annotated[Pass, Depends(shown_pass)]


async def owner(asking: Asking) -> str:
    """Whose the jobs are that the request makes."""
    return asking.name


async def viewer(asking: Asking) -> str | None:
    """Whose jobs and images the request may see; None: everybody's."""
    return asking.sees


async def known_id(id: Annotated[str, _DESCRIBED_ID]) -> str:
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
