"""The page that repaints a part of a picture: choose one, mark the part, say what should be there."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import RedirectResponse

from app import desk, intake
from app.deps import House, Inside, Owner
from app.errors import Invalid
from app.faults import Fault
from app.jobs.failures import BadPicture, SpecError, UnknownModel
from app.jobs.spec import Inpaint
from app.problems import problem_of
from app.routes import wishing
from app.routes.cards import shown
from app.routes.given import Chosen, Sent, SentForm, choice, keep, picture
from app.routes.rendering import READ, is_part, render

PATH = "/edit"

TOLD = ("prompt", "strength", "feather", "mask", "mask_mode")
FOLDED = ("negative_prompt", "model", "num_images", "steps", "guidance_scale", "sampler", "seed")
FIELDS = (*TOLD, *FOLDED)
"""What the form asks for, next to the picture it is about."""

router = APIRouter(include_in_schema=False)


@router.api_route(PATH, methods=READ)
def edit(request: Request, house: Inside, owner: Owner, chosen: Chosen) -> Response:
    """The easel with the picture on it; without one, those there are to choose from."""
    if chosen is None:
        return _choice(request, house, owner)
    words = {"prompt": picture(house, owner, chosen).prompt, **request.query_params}
    return _easel(request, house, owner, chosen, words)


@router.post(f"{PATH}/picture")
def bring(request: Request, house: Inside, owner: Owner, form: SentForm) -> Response:
    """Keep a picture from outside, and put it on the easel."""
    try:
        return RedirectResponse(f"{PATH}?upload={keep(house, form, owner)}", status_code=303)
    except (Invalid, BadPicture) as error:
        return _choice(request, house, owner, f"The picture {problem_of(error).faults[0].detail}.")


@router.post(PATH)
def develop(request: Request, house: Inside, owner: Owner, form: SentForm, tasks: BackgroundTasks) -> Response:
    """Queue what the form asks for and show the job; or the form, with what is wrong beside each field."""
    reference = form.texts.get("image", "")
    try:
        fields = wishing.read({**form.texts, "mask": _mask_of(house, form, owner)}, FIELDS)
        wish = wishing.wish_of(Inpaint, {"task": "inpaint", "image": reference, **fields})
        job = desk.submit(house, wish, owner, tasks.add_task)
    except (Invalid, SpecError, UnknownModel) as error:
        return _easel(request, house, owner, reference, form.texts, problem_of(error).faults)
    return shown(request, house, job)


def _mask_of(house: House, form: Sent, owner: str) -> str:
    """The mask as a wish names it: a file of it, if one was chosen, else what was drawn.

    Raises: SpecError.
    """
    if "mask" in form.files:
        try:
            return f"upload:{intake.upload(house, form.files['mask'], owner).id}"
        except BadPicture as error:
            raise SpecError("mask", "a file", str(error)) from error
    if drawn := form.texts.get("drawn"):
        return drawn
    raise SpecError("mask", "", "must mark a part of the picture: paint over what should change")


def _choice(request: Request, house: House, owner: str, fault: str = "") -> Response:
    is_offered = "inpaint" in desk.default_models(house)
    return choice(request, house, owner, PATH, "edit_choice.html", fault, is_offered=is_offered)


def _easel(
    request: Request,
    house: House,
    owner: str,
    reference: str,
    texts: Mapping[str, str],
    faults: Sequence[Fault] = (),
) -> Response:
    """The whole page, or where htmx sent a form with faults, its fields alone: what was painted stays."""
    fields = wishing.read(texts, FIELDS)
    context = {
        "wish": fields,
        "faults": wishing.sentences(faults, FIELDS),
        "is_open": any(fields[field] for field in FOLDED),
        "entry": desk.default_model(house, "inpaint"),
        "models": [entry.name for entry in house.store.catalogue() if "inpaint" in entry.tasks],
    }
    status = 422 if faults else 200
    if is_part(request):
        response = render(request, "_edit_fields.html", status=status, **context)
        response.headers.update({"HX-Retarget": "#brief", "HX-Reswap": "outerHTML"})
        return response
    return render(request, "edit.html", status=status, picture=picture(house, owner, reference), **context)
