"""Jobs for people: the queue, and each job; with JavaScript both stay current by themselves."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request, Response
from fastapi.responses import RedirectResponse

from app import desk
from app.deps import House, Id, Inside, Owner, OwnJob, Viewer
from app.jobs.failures import NotCancellable
from app.jobs.store import Job, State
from app.routes.cards import cards, shown
from app.routes.paging import Cursor
from app.routes.rendering import READ, render

PER_PAGE = 30
QUEUE = "/jobs"

router = APIRouter(prefix=QUEUE, include_in_schema=False)

FromQueue = Annotated[bool, Query(alias="queue", description="whether to come back to the queue")]


@router.api_route("", methods=READ)
def index(
    request: Request, house: Inside, viewer: Viewer, state: State | None = None, cursor: Cursor = None
) -> Response:
    """Every job, newest first: how it stands, and what can be done about it."""
    page = house.store.jobs(viewer, state, limit=PER_PAGE, cursor=cursor)
    return render(
        request,
        "jobs.html",
        cards=cards(house, page.items),
        next=page.next,
        state=state,
        states=list(State),
        is_first=cursor is None,
        queued=house.store.queue_length(),
        workers=len(house.store.workers_alive()),
    )


@router.api_route("/{id}", methods=READ)
def job(request: Request, job: OwnJob, house: Inside) -> Response:
    """One job; without JavaScript the page loads itself again until it is done."""
    return render(request, "job.html", card=cards(house, [job])[0])


@router.api_route("/{id}/card", methods=READ)
def card(request: Request, job: OwnJob, house: Inside) -> Response:
    """The part of a page that shows one job."""
    return render(request, "_job.html", card=cards(house, [job])[0])


@router.post("/{id}/cancel")
def cancel(
    request: Request, id: Id, house: Inside, viewer: Viewer, tasks: BackgroundTasks, from_queue: FromQueue = False
) -> Response:
    """Cancel the job and show it; one that has ended meanwhile is shown as it is."""
    try:
        job = desk.cancel(house, id, viewer, tasks.add_task)
    except NotCancellable:
        job = house.store.get(id, viewer)
    return _back(request, house, job, from_queue)


@router.post("/{id}/retry")
def retry(
    request: Request, job: OwnJob, house: Inside, owner: Owner, tasks: BackgroundTasks, from_queue: FromQueue = False
) -> Response:
    """Queue the same recipe again and show the new job."""
    again = desk.queue(house, job.params, owner, tasks.add_task, job.warnings)
    return _back(request, house, again, from_queue)


def _back(request: Request, house: House, job: Job, to_queue: bool) -> Response:
    return RedirectResponse(QUEUE, status_code=303) if to_queue else shown(request, house, job)
