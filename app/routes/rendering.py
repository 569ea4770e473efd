"""Templates into responses: whole pages, and the parts of them that htmx asks for."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from app.errors import Problem, Unauthorized
from app.jobs.quote import Quote
from app.jobs.store import Image, Job, State

if TYPE_CHECKING:
    from fastapi.templating import Jinja2Templates

HERE = Path(__file__).parent.parent
STATIC = HERE / "static"

READ = ["GET", "HEAD"]
"""How a page may be asked for."""

ROOMS = (
    ("/", "Develop"),
    ("/images", "Gallery"),
    ("/edit", "Edit"),
    ("/upscale", "Upscale"),
    ("/jobs", "Jobs"),
    ("/study", "Study"),
)
"""What the head of every page leads to, in this order: Develop, Gallery, Edit, Upscale, Jobs, Study."""


@dataclass(frozen=True, slots=True)
class Card:
    """A job as its card shows it: `position` in the queue, whether a living worker has its model, and its `quote`."""

    job: Job
    position: int | None
    is_served: bool
    quote: Quote | None

    @property
    def is_streamed(self) -> bool:
        """Whether the card listens to the job's events; one that waits further back is asked for now and then.

        A browser opens six connections to a server and no more, so not every job of a long queue can have one.
        """
        return self.job.state is State.RUNNING or self.position == 0

    @property
    def developed_s(self) -> float:
        """Seconds from the claim to the end; 0 unless both happened."""
        if self.job.started_at is None or self.job.finished_at is None:
            return 0.0
        return (self.job.finished_at - self.job.started_at).total_seconds()


class Assets(StaticFiles):
    """The static files.  One asked for by its version never changes, so it may be kept for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with what a cache may do with it."""
        response = await super().get_response(path, scope)
        lasting = "public, max-age=31536000, immutable"
        response.headers["Cache-Control"] = lasting if scope["query_string"] else "no-cache"
        return response


@lru_cache
def asset(name: str) -> str:
    """The URL of a static file, with its content's digest, so that a new version is a new URL."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@lru_cache
def _templates() -> "Jinja2Templates":
    # Jinja takes an eighth of the time the whole app needs to be imported, and many processes render nothing.
    from fastapi.templating import Jinja2Templates
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(asset=asset, rooms=ROOMS)
    return Jinja2Templates(env=environment)


def is_part(request: Request) -> bool:
    """Whether htmx asks, and wants a part of a page."""
    return request.headers.get("hx-request") == "true"


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A template as a response."""
    context = {"here": request.url.path, **context}
    response = _templates().TemplateResponse(request, template, context, status_code=status)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "HX-Request"
    return response


def problem_page(request: Request, problem: Problem, request_id: str) -> Response:
    """A problem for a person: a page of its own, or where htmx asked, the notice on the page there is."""
    part = is_part(request)
    context: dict[str, Any] = {"problem": problem, "request_id": request_id}
    template = "_notice.html" if part else "problem.html"
    if isinstance(problem, Unauthorized) and not part:
        # Where the visitor was going, so that the way goes on after the key was shown.
        url = request.url
        template, context = "sign_in.html", {"next": f"{url.path}?{url.query}".rstrip("?"), "is_wrong": False}
        if request.method != "GET":
            context["next"] = "/"
    response = render(request, template, status=problem.status, **context)
    response.headers.update(problem.headers or {})
    if part:
        response.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "outerHTML"})
    elif request.method == "GET" and "Retry-After" in response.headers:
        response.headers["Refresh"] = response.headers["Retry-After"]
    return response


def wants_page(request: Request) -> bool:
    """Whether a person in a browser asks, rather than a client of the API."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def recipe_of(image: Image) -> list[tuple[str, str]]:
    """What the picture was made of, as names and values for people."""
    params = image.params
    is_from_words = params.task == "text_to_image"
    return [
        *([] if is_from_words else [("Task", params.task.replace("_", " "))]),
        ("Model", f"{params.model} {image.model_revision}"),
        ("Size", f"{image.width} × {image.height}"),
        ("Steps", str(params.steps)),
        ("Guidance", f"{params.guidance_scale:g}"),
        ("Sampler", params.sampler if params.eta == 0 else f"{params.sampler}, eta {params.eta:g}"),
        ("Seed", str(image.seed)),
        ("File", f"{image.format.upper()}, {image.size_bytes / 1000:.1f} kB"),
        ("Made", image.created_at.strftime("%d %B %Y, %H:%M UTC")),
    ]
