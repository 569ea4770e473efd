"""The first page: the form, what is on its way, the last prints.  Whole without JavaScript, as every page is."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response
from fastapi.responses import RedirectResponse

from app import desk, intake
from app.deps import House, Inside, Owner, Viewer, form_only
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError, TooCostly, UnknownModel
from app.jobs.store import Place, State
from app.problems import problem_of
from app.routes import form
from app.routes.cards import cards, shown
from app.routes.rendering import READ, is_part, render
from app.routes.uploads import MAX_BODY_BYTES, sent_file
from app.routes.viewing import View

LATEST = 16

RECALL = "/recall"
LARGE_BODIES = {RECALL: MAX_BODY_BYTES}

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


@router.post("/quote", dependencies=[Depends(form_only)])
def quote(request: Request, house: Inside, owner: Owner, fields: Fields) -> Response:
    """When what the form asks for would be done, in words; nothing where nobody can tell, or the form is wrong."""
    # How long it takes does not depend on the words.
    wished = {**fields, "prompt": fields["prompt"].strip() or "?"}
    try:
        _, place = desk.quote(house, form.wish_of(wished), owner)
    except (Invalid, SpecError, UnknownModel, TooCostly):
        place = Place()
    return render(request, "_quote.html", place=place)


@router.post(RECALL)
def recall(data: Annotated[bytes, Depends(sent_file)]) -> Response:
    """Fill the form with the recipe that a picture of ours, or of A1111's kin, holds."""
    recipe = intake.recipe(data)
    return RedirectResponse(f"/?{form.query_of(recipe, recipe.seed)}", status_code=303)


def _bench(
    request: Request, house: House, viewer: str | None, fields: Mapping[str, str], faults: Sequence[Fault] = ()
) -> Response:
    """The first page, its form filled with `fields`; where htmx sent a form with faults, the form alone."""
    catalogue = house.store.catalogue()
    able = [entry for entry in catalogue if "text_to_image" in entry.tasks]
    entry = _named(able, fields["model"]) or desk.default_model(house, "text_to_image")
    filled = {
        "wish": fields,
        "faults": form.sentences(faults),
        "is_open": any(fields[field] for field in form.FOLDED),
        "entry": entry,
        "models": [each.name for each in able],
        "upscales": form.upscales(catalogue),
        "sizes": form.sizes(entry, fields["size"]),
    }
    status = 422 if faults else 200
    if is_part(request):
        response = render(request, "_form.html", status=status, **filled)
        response.headers.update({"HX-Retarget": "#wish", "HX-Reswap": "outerHTML"})
        return response
    alive = [
        job for state in (State.QUEUED, State.RUNNING) for job in house.store.jobs(viewer, state, limit=LATEST).items
    ]
    latest = {"images": house.store.images(viewer, LATEST).items, "next": None, "view": View()}
    return render(request, "index.html", status=status, cards=cards(house, alive), **latest, **filled)


def _named(entries: Sequence[CatalogueEntry], name: str) -> CatalogueEntry | None:
    return next((entry for entry in entries if entry.name == name), None)
