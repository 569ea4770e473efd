"""The pages: rendered here, whole without JavaScript; with it, parts of them are fetched and stay current."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response

from app import desk
from app.deps import House, Id, Inside, Owner, OwnJob, Viewer, form_only
from app.errors import Invalid, problem_of
from app.faults import Fault
from app.jobs.failures import NotCancellable, SpecError, UnknownModel
from app.jobs.spec import draw_seed
from app.jobs.store import State
from app.routes import form
from app.routes.cards import cards, shown
from app.routes.images import OwnImage, suffix
from app.routes.paging import Cursor
from app.routes.rendering import is_part, recipe_of, render

LATEST = 16
PER_PAGE = 48
READ = ["GET", "HEAD"]

router = APIRouter(include_in_schema=False)


async def sent_fields(request: Request) -> Mapping[str, str]:
    """The prompt form as it was sent."""
    return form.read(await request.form(max_files=0, max_fields=100))


Fields = Annotated[Mapping[str, str], Depends(sent_fields)]


@router.api_route("/", methods=READ)
def index(request: Request, house: Inside, viewer: Viewer) -> Response:
    """The form, the jobs on their way, the last prints."""
    return _bench(request, house, viewer, form.read(request.query_params))


@router.post("/", dependencies=[Depends(form_only)])
def develop(
    request: Request, house: Inside, owner: Owner, viewer: Viewer, fields: Fields, tasks: BackgroundTasks
) -> Response:
    """Queue what the form asks for and show the job; or the form, with what is wrong beside each field."""
    try:
        job = desk.submit(house, form.wish_of(fields), owner, tasks.add_task)
    except (Invalid, SpecError, UnknownModel) as error:
        return _bench(request, house, viewer, fields, problem_of(error).faults)
    return shown(request, house, job)


@router.api_route("/jobs/{id}", methods=READ)
def job(request: Request, job: OwnJob, house: Inside) -> Response:
    """One job; without JavaScript the page loads itself again until it is done."""
    return render(request, "job.html", card=cards(house, [job])[0])


@router.api_route("/jobs/{id}/card", methods=READ)
def card(request: Request, job: OwnJob, house: Inside) -> Response:
    """The part of a page that shows one job."""
    return render(request, "_job.html", card=cards(house, [job])[0])


@router.post("/jobs/{id}/cancel")
def cancel(request: Request, id: Id, house: Inside, viewer: Viewer, tasks: BackgroundTasks) -> Response:
    """Cancel the job and show it; one that has ended meanwhile is shown as it is."""
    try:
        job = desk.cancel(house, id, viewer, tasks.add_task)
    except NotCancellable:
        job = house.store.get(id, viewer)
    return shown(request, house, job)


@router.post("/jobs/{id}/retry")
def retry(request: Request, job: OwnJob, house: Inside, owner: Owner, tasks: BackgroundTasks) -> Response:
    """Queue the same recipe again and show the new job."""
    return shown(request, house, desk.queue(house, job.params, owner, tasks.add_task, job.warnings))


@router.api_route("/images", methods=READ)
def images(request: Request, house: Inside, viewer: Viewer, cursor: Cursor = None) -> Response:
    """The contact sheet: every print, newest first."""
    page = house.store.images(viewer, PER_PAGE, cursor)
    return render(request, "images.html", images=page.items, next=page.next, is_first=cursor is None)


@router.api_route("/images/{id}", methods=READ)
def image(request: Request, image: OwnImage) -> Response:
    """One print and its recipe."""
    filled = form.query_of(image.params, image.seed)
    name = f"darkroom-{image.seed}.{suffix(image)}"
    return render(request, "image.html", image=image, recipe=recipe_of(image), form_query=filled, file_name=name)


@router.post("/images/{id}/again")
def again(request: Request, image: OwnImage, house: Inside, owner: Owner, tasks: BackgroundTasks) -> Response:
    """Queue the print's recipe with a new seed, and show the new job."""
    params = image.params.model_copy(update={"seed": draw_seed(), "num_images": 1})
    warnings = house.store.get(image.job_id, owner).warnings
    return shown(request, house, desk.queue(house, params, owner, tasks.add_task, warnings))


def _bench(
    request: Request, house: House, viewer: str | None, fields: Mapping[str, str], faults: Sequence[Fault] = ()
) -> Response:
    """The first page, its form filled with `fields`; where htmx sent a form with faults, the form alone."""
    entry = desk.default_model(house, "text_to_image")
    filled = {
        "wish": fields,
        "faults": form.sentences(faults),
        "is_open": any(fields[field] for field in form.FOLDED),
        "entry": entry,
        "models": [entry.name for entry in house.store.catalogue() if "text_to_image" in entry.tasks],
        "sizes": form.sizes(entry),
    }
    status = 422 if faults else 200
    if is_part(request):
        response = render(request, "_form.html", status=status, **filled)
        response.headers.update({"HX-Retarget": "#wish", "HX-Reswap": "outerHTML"})
        return response
    alive = [
        job for state in (State.QUEUED, State.RUNNING) for job in house.store.jobs(viewer, state, limit=LATEST).items
    ]
    latest = house.store.images(viewer, LATEST).items
    return render(request, "index.html", status=status, cards=cards(house, alive), images=latest, **filled)
