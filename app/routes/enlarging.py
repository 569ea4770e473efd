"""The page that makes pictures larger: choose one, say how much, see before and after."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import RedirectResponse

from app import desk
from app.deps import House, Inside, Owner
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import BadPicture, SpecError, UnknownModel
from app.jobs.spec import SuperResolution
from app.problems import problem_of
from app.routes import wishing
from app.routes.cards import shown
from app.routes.given import Chosen, SentForm, choice, keep, picture
from app.routes.rendering import READ, is_part, render

PATH = "/upscale"

FOLDED = ("prompt", "model", "steps", "seed")
FIELDS = ("scale", "consistent", *FOLDED)
"""What the form asks for, next to the picture it is about."""

router = APIRouter(include_in_schema=False)


@router.api_route(PATH, methods=READ)
def upscale(request: Request, house: Inside, owner: Owner, chosen: Chosen) -> Response:
    """The picture under the enlarger; without one, those there are to choose from."""
    if chosen is None or (entry := _default(house)) is None:
        return _choice(request, house, owner)
    return _enlarger(request, house, owner, entry, chosen, request.query_params)


@router.post(f"{PATH}/picture")
def bring(request: Request, house: Inside, owner: Owner, form: SentForm) -> Response:
    """Keep a picture from outside, and put it under the enlarger."""
    try:
        return RedirectResponse(f"{PATH}?upload={keep(house, form, owner)}", status_code=303)
    except (Invalid, BadPicture) as error:
        return _choice(request, house, owner, f"The picture {problem_of(error).faults[0].detail}.")


@router.post(PATH)
def develop(request: Request, house: Inside, owner: Owner, form: SentForm, tasks: BackgroundTasks) -> Response:
    """Queue what the form asks for and show the job; or the form, with what is wrong beside each field."""
    reference = form.texts.get("image", "")
    fields = wishing.read(form.texts, FIELDS)
    try:
        wish = wishing.wish_of(SuperResolution, {"task": "super_resolution", "image": reference, **fields})
        job = desk.submit(house, wish, owner, tasks.add_task)
    except (Invalid, SpecError, UnknownModel) as error:
        entry = desk.default_model(house, "super_resolution")
        return _enlarger(request, house, owner, entry, reference, fields, problem_of(error).faults)
    return shown(request, house, job)


def _default(house: House) -> CatalogueEntry | None:
    return desk.default_models(house).get("super_resolution")


def _choice(request: Request, house: House, owner: str, fault: str = "") -> Response:
    return choice(request, house, owner, PATH, "upscale_choice.html", fault, is_offered=_default(house) is not None)


def _enlarger(
    request: Request,
    house: House,
    owner: str,
    entry: CatalogueEntry,
    reference: str,
    texts: Mapping[str, str],
    faults: Sequence[Fault] = (),
) -> Response:
    """The whole page, or where htmx sent a form with faults, its fields alone."""
    fields = wishing.read(texts, FIELDS)
    context = {
        "wish": fields,
        "faults": wishing.sentences(faults, FIELDS),
        "is_open": any(fields[field] for field in FOLDED),
        "entry": entry,
        "models": [each.name for each in house.store.catalogue() if "super_resolution" in each.tasks],
        # Half of four is done by averaging.
        "scales": (2, 4) if entry.scale == 4 else (entry.scale,),
        "picture": picture(house, owner, reference),
    }
    status = 422 if faults else 200
    if is_part(request):
        response = render(request, "_upscale_fields.html", status=status, **context)
        response.headers.update({"HX-Retarget": "#brief", "HX-Reswap": "outerHTML"})
        return response
    return render(request, "upscale.html", status=status, **context)
