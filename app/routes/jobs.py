"""Jobs: submit, list, look at, wait for, cancel, repeat."""

from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.models import Example

from app import desk
from app.deps import House, Id, Inside, Owner, OwnJob, Shown, Viewer, json_only
from app.errors import (
    BadRequest,
    Conflict,
    Invalid,
    NoModels,
    NotFound,
    QueueFull,
    QuotaReached,
    TooCostly,
    TooLarge,
    TooOften,
    Unavailable,
    UnsupportedMedia,
    documented,
)
from app.jobs.spec import INTERNAL_TASKS, MAX_DATA_BYTES, TASKS, Wish
from app.jobs.store import Job, Place, State
from app.routes.paging import Cursor, Limit, link_next
from app.schemas import API, JobOut, JobsOut

MAX_WAIT_S = 60.0
RETRY_AFTER_S = 1

PATH = f"{API}/jobs"

SHARE = (TooCostly, TooOften, QuotaReached, Unavailable, QueueFull)
"""Why a job that could be developed is not taken."""

# An image and a mask in base64, and a prompt.
MAX_BODY_BYTES = 2 * MAX_DATA_BYTES * 4 // 3 + (1 << 20)

EXAMPLES: dict[str, Example] = {
    "text_to_image": {
        "summary": "A picture from words",
        "value": {"task": "text_to_image", "prompt": "a fox in the snow", "seed": 7},
    },
    "image_to_image": {
        "summary": "A picture from a picture and words",
        "value": {
            "task": "image_to_image",
            "prompt": "a fox at night",
            "image": "upload:0f8a5d2c7b9e4a10b3c6d7e8f9a0b1c2",
            "strength": 0.6,
        },
    },
    "inpaint": {
        "summary": "A part of a picture painted anew",
        "value": {
            "task": "inpaint",
            "prompt": "a rocket",
            "image": "image:5b1e0c4fd2a84f6e9a7c3b2d1e0f9a8b",
            "mask": "upload:0f8a5d2c7b9e4a10b3c6d7e8f9a0b1c2",
            "feather": 4,
        },
    },
    "super_resolution": {
        "summary": "A picture made larger",
        "value": {
            "task": "super_resolution",
            "image": "upload:0f8a5d2c7b9e4a10b3c6d7e8f9a0b1c2",
            "scale": 4,
            "consistent": True,
        },
    },
}

router = APIRouter(prefix=PATH, tags=["jobs"], responses=documented(Invalid, Unavailable))


Wished = Annotated[Wish, Body(discriminator="task", openapi_examples=EXAMPLES)]

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$", description="makes sending a request again safe"),
]


@router.post(
    "",
    operation_id="submitJob",
    status_code=202,
    dependencies=[Depends(json_only)],
    responses=documented(BadRequest, TooLarge, UnsupportedMedia, NoModels, *SHARE),
)
def submit(
    wish: Wished,
    house: Inside,
    owner: Owner,
    tasks: BackgroundTasks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Queue a job.  What is not given is filled in from the model's defaults and told in `params`.

    With an `Idempotency-Key` of the last day and the same body, the job of then is told and nothing is queued.
    """
    return accepted(house, desk.submit(house, wish, owner, tasks.add_task, idempotency_key), response)


@router.get("", operation_id="listJobs")
def index(
    house: Inside,
    viewer: Viewer,
    request: Request,
    response: Response,
    state: State | None = None,
    task: Annotated[str | None, Query(json_schema_extra={"enum": [*TASKS, *INTERNAL_TASKS]}, max_length=200)] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> JobsOut:
    """Your jobs, newest first; those that verify or decode only where `task` names them."""
    page = house.store.jobs(viewer, state, limit, cursor, task)
    link_next(request, response, page.next)
    places = house.store.quotes.places(page.items)
    items = [JobOut.of(job, places.get(job.id, Place())) for job in page.items]
    return JobsOut(items=items, next_cursor=page.next)


@router.get("/{id}", operation_id="getJob", responses=documented(NotFound))
async def show(
    job: OwnJob,
    house: Inside,
    shown: Shown,
    wait: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False, description="seconds to wait for a change of state"),
    ] = 0,
    until: Annotated[Literal["done"] | None, Query(description="`done`: wait for the end of the job")] = None,
) -> JobOut:
    """One job.  With `wait`: at once if it has ended, else at its next change of state or after the wait."""
    if wait > 0:
        job = await house.watch.change(job, shown, until_done=until == "done", wait_s=wait)
    return await run_in_threadpool(_out, house, job)


@router.post("/{id}/cancel", operation_id="cancelJob", responses=documented(NotFound, Conflict))
def cancel(id: Id, house: Inside, viewer: Viewer, tasks: BackgroundTasks) -> JobOut:
    """Cancel a job.  Once this is answered, no picture of it will appear.  Asking again changes nothing."""
    return _out(house, desk.cancel(house, id, viewer, tasks.add_task))


@router.post("/{id}/retry", operation_id="retryJob", status_code=202, responses=documented(NotFound, *SHARE))
def retry(job: OwnJob, house: Inside, owner: Owner, tasks: BackgroundTasks, response: Response) -> JobOut:
    """Queue a new job of the same recipe, seed included."""
    return accepted(house, desk.queue(house, job.params, owner, tasks.add_task, job.warnings), response)


def accepted(house: House, job: Job, response: Response) -> JobOut:
    """What a 202 says of a job: where it is, and when to look again."""
    told = _out(house, job)
    response.headers["Location"] = told.links.self
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return told


def _out(house: House, job: Job) -> JobOut:
    return JobOut.of(job, house.store.quotes.places([job]).get(job.id, Place()))
