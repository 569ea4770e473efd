"""The front door: `create_app(settings)` puts guards, routes and background tasks together.

Nothing happens at import, and nothing outside this process is touched before the app starts.  What is away
then (database, Redis) may come later.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any, get_args

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException

from app import desk
from app.deps import House, principal
from app.description import API_VERSION, GUARDED, OPEN, describe
from app.dialects.errors import in_dialect
from app.errors import Internal
from app.jobs.events import EventReader, connect_async
from app.jobs.failures import JobsError, StoreUnavailable
from app.jobs.queue import connect
from app.jobs.settings import Settings, load_settings
from app.jobs.storage import open_storage
from app.jobs.store import open_store
from app.problems import problem_of, response_of
from app.routes import (
    catalog,
    comparing,
    editing,
    enlarging,
    events,
    gallery,
    given,
    health,
    images,
    job_pages,
    jobs,
    keeping,
    marking,
    metrics,
    openai,
    pages,
    quotes,
    recipes,
    reference,
    scrubbing,
    sdapi,
    sdapi_discovery,
    sign_in,
    studying,
    trajectories,
    uploads,
)
from app.routes.rendering import STATIC, Assets, problem_page, wants_page
from app.security import Door
from app.throttle import Throttle
from app.traffic import Counted, Traffic
from app.watching import Watch

log = structlog.get_logger()

LARGE_BODIES = {
    jobs.PATH: jobs.MAX_BODY_BYTES,
    quotes.PATH: jobs.MAX_BODY_BYTES,
    uploads.PATH: uploads.MAX_BODY_BYTES,
    **openai.LARGE_BODIES,
    **sdapi.LARGE_BODIES,
    recipes.PATH: uploads.MAX_BODY_BYTES,
    **pages.LARGE_BODIES,
    **given.LARGE_BODIES,
    **studying.LARGE_BODIES,
}
"""What takes pictures, and so more than other bodies."""


def create() -> FastAPI:
    """The app of the environment's settings: `uvicorn --factory app.main:create`.  Raises: SettingsError."""
    return create_app(load_settings())


def create_app(settings: Settings, *, open_to_strangers: bool = False) -> FastAPI:
    """The front door of one installation.

    While no keys exist it is open to this machine, and to nobody beyond unless `open_to_strangers`.
    """
    app = Darkroom(
        title="Darkroom",
        summary="Develops pictures from words.",
        # Of the contract: /version tells which program keeps it.
        version=API_VERSION,
        lifespan=_open_house,
        # A slash too many is another path; to be led on from it would take the Host header for granted.
        redirect_slashes=False,
        # Their pages load scripts from elsewhere, which our Content-Security-Policy forbids; routes/reference has ours.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.settings = settings
    app.state.is_open = settings.is_for_this_machine or open_to_strangers
    hosts = settings.resolved_allowed_hosts
    names = () if hosts is None and open_to_strangers else hosts
    app.add_middleware(Door, answer=answer, hosts=names, large_bodies=LARGE_BODIES)
    # Outermost, so that what the door refuses is counted too.
    app.state.traffic = Traffic()
    app.add_middleware(Counted, traffic=app.state.traffic)
    for kind in (HTTPException, RequestValidationError, JobsError):
        app.add_exception_handler(kind, _handle)
    # Probes need no key, and whoever has none yet can sign in; whatever else there is needs one.
    app.include_router(health.router, responses=OPEN)
    app.include_router(sign_in.router)
    app.include_router(reference.document_router)
    api = (jobs, quotes, events, uploads, images, keeping, trajectories, recipes, catalog, metrics, reference)
    shown = (pages, gallery, marking, job_pages, given, editing, enlarging, comparing, scrubbing, studying)
    dialects = (openai, sdapi, sdapi_discovery)
    for part in (*api, *shown, *dialects):
        app.include_router(part.router, dependencies=[Depends(principal)], responses=GUARDED)
    app.mount("/static", Assets(directory=STATIC))
    return app


class Darkroom(FastAPI):
    """FastAPI, whose description of the API also says what it cannot know by itself."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(super().openapi())
        return self.openapi_schema


def answer(request: Request, error: Exception) -> Response:
    """The response that says `error`: a page to a person, its own shape to a dialect's client, else problem+json."""
    problem = problem_of(error, _bodies(request))
    request_id: str = request.scope["state"]["request_id"]
    if isinstance(problem, Internal):
        log.error("request.failed", request_id=request_id, path=request.url.path, exc_info=error)
    if (said := in_dialect(request.url.path, problem)) is not None:
        return said
    if wants_page(request):
        return problem_page(request, problem, request_id)
    return response_of(problem, request_id)


async def _handle(request: Request, error: Exception) -> Response:
    return answer(request, error)


def _bodies(request: Request) -> dict[str, list[str]]:
    """The fields of each kind of body that the route takes, by what tells them apart."""
    body = getattr(request.scope.get("route"), "body_field", None)
    if body is None:
        return {}
    kinds = get_args(body.field_info.annotation) or (body.field_info.annotation,)
    fields = {kind: getattr(kind, "model_fields", {}) for kind in kinds}
    discriminator = body.field_info.discriminator
    return {_tag(known, discriminator): list(known) for known in fields.values()}


def _tag(fields: Mapping[str, FieldInfo], discriminator: str | None) -> str:
    if discriminator is None or discriminator not in fields:
        return ""
    return str(get_args(fields[discriminator].annotation)[0])


@asynccontextmanager
async def _open_house(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    url = settings.resolved_redis_url
    reader = EventReader(connect_async(url))
    store = open_store(settings)
    storage = open_storage(settings.resolved_storage_url)
    redis = connect(url)
    house = House(settings, store, storage, redis, Watch(store, reader), Throttle(redis), app.state.is_open)
    app.state.house = house
    await reader.start()
    sweeper = asyncio.create_task(_sweep_forever(house), name="sweeper")
    try:
        with _heard_before_the_server(house.watch.close):
            yield
    finally:
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper
        await house.watch.close()
        redis.close()
        store.close()


async def _sweep_forever(house: House) -> None:
    """Sweep every so often, whatever a single sweep comes to."""
    while True:
        await asyncio.sleep(house.settings.sweep_s)
        try:
            await run_in_threadpool(desk.sweep, house)
        except StoreUnavailable as error:
            log.warning("sweep.skipped", error=str(error))
        except Exception:
            log.exception("sweep.failed")


@contextmanager
def _heard_before_the_server(close: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """While this lasts, a signal that ends the server first calls `close`.

    The server waits for every open response before it tells us that it stops; an event stream never ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    closing: set[asyncio.Task[None]] = set()
    servers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(lambda: closing.add(loop.create_task(close())))
        server = servers[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    for number, server in servers.items():
        if callable(server):
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, server in servers.items():
            if callable(server):
                signal.signal(number, server)
