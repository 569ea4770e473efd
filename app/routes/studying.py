"""Blind studies: which of two pictures is real, or is preferred.  Raters answer, all is counted."""

import re
from random import SystemRandom
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.deps import House, Id, Inside, Owner, Viewer, known_id
from app.errors import Invalid
from app.jobs.failures import BadPicture, NotFound
from app.jobs.store.studying import Choice, NewTrial
from app.problems import problem_of
from app.routes.rendering import READ, render
from app.routes.study_form import MAX_BODY_BYTES, MAX_PAIRS, OFFERED, Wanted, new_study, wanted
from app.routes.study_sheet import answers_of, sheet
from app.study.drawing import draw_showings
from app.study.judging import judge
from app.study.pictures import reference, veiled

PATH = "/study"
LARGE_BODIES = {PATH: MAX_BODY_BYTES}

router = APIRouter(prefix=PATH, include_in_schema=False)

# Without control characters: PostgreSQL stores no NUL.
RaterName = Form(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")

# Nobody can guess what comes next.
_chance = SystemRandom()


@router.api_route("", methods=READ)
def index(request: Request, house: Inside, viewer: Viewer, owner: Owner) -> Response:
    """All studies, and the form for a new one."""
    return _index(request, house, viewer, owner, Wanted())


@router.post("")
def create(
    request: Request, house: Inside, viewer: Viewer, owner: Owner, form: Annotated[Wanted, Depends(wanted)]
) -> Response:
    """Set a study up: its pictures are copied, so that it outlasts them."""
    try:
        study_id = house.store.studies.create(owner, new_study(house, owner, form, _chance))
    except (Invalid, BadPicture, NotFound) as error:
        return _index(request, house, viewer, owner, form, problem_of(error).sentence)
    return RedirectResponse(f"{PATH}/{study_id}", status_code=303)


@router.api_route("/{id}", methods=READ)
def show(request: Request, id: Id, house: Inside, viewer: Viewer) -> Response:
    """What a study has come to so far, and the way in for the next rater."""
    study = house.store.studies.get(id, viewer)
    trials = house.store.studies.trials(id, viewer)
    unfinished = {trial.rater_id: trial.rater for trial in trials if trial.choice is None}
    judgement = judge(answers_of(trials))
    return render(request, "study.html", study=study, judgement=judgement, unfinished=unfinished)


@router.post("/{id}/raters")
def begin(id: Id, house: Inside, viewer: Viewer, rater: Annotated[str, RaterName]) -> Response:
    """Draw what a new rater will see, and show the first of it."""
    study = house.store.studies.get(id, viewer)
    showings = draw_showings(study.pairs, study.repeats, _chance)
    trials = [NewTrial(each.pair, each.is_swapped, each.is_repeat) for each in showings]
    rater_id = house.store.studies.begin(id, viewer, rater, trials)
    return RedirectResponse(f"{PATH}/{id}/raters/{rater_id}", status_code=303)


@router.api_route("/{id}/raters/{rater_id}", methods=READ)
async def rate(request: Request, id: Id, rater_id: str, house: Inside, viewer: Viewer) -> Response:
    """The next pair for this rater, or thanks."""
    await known_id(rater_id)
    study = await run_in_threadpool(house.store.studies.get, id, viewer)
    trials = await run_in_threadpool(house.store.studies.trials, id, viewer, rater_id)
    if not trials:
        raise NotFound(f"there is no rater {rater_id!r}")
    ahead = [trial for trial in trials if trial.choice is None]
    template = "study_pair.html" if ahead else "study_thanks.html"
    return render(request, template, study=study, trial=ahead[0] if ahead else None, total=len(trials))


@router.post("/{id}/trials/{trial_id}")
def answer(id: Id, trial_id: str, house: Inside, viewer: Viewer, choice: Annotated[Choice, Form()]) -> Response:
    """Keep an answer, and show what comes next."""
    rater_id = house.store.studies.answer(id, viewer, trial_id, choice)
    return RedirectResponse(f"{PATH}/{id}/raters/{rater_id}", status_code=303)


@router.api_route("/pictures/{token}", methods=READ)
async def picture(token: str, house: Inside, viewer: Viewer) -> Response:
    """A picture under the name that one rater knows it by, for this one pair."""
    await known_id(token)
    key = await run_in_threadpool(house.store.studies.picture_key, token, viewer)
    data = veiled(await run_in_threadpool(house.storage.get, key))
    return Response(data, headers={"Cache-Control": "no-store"}, media_type="image/png")


@router.api_route("/{id}/answers.csv", methods=READ)
def answers(id: Id, house: Inside, viewer: Viewer) -> Response:
    """Every answer with all that was hidden from whoever gave it."""
    study = house.store.studies.get(id, viewer)
    pairs = house.store.studies.pairs(id, viewer)
    trials = [trial for trial in house.store.studies.trials(id, viewer) if trial.choice is not None]
    name = re.sub(r"[^a-z0-9]+", "-", study.name.lower()).strip("-") or "study"
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(sheet(study, pairs, trials), headers=headers, media_type="text/csv; charset=utf-8")


@router.post("/{id}/delete")
def forget(id: Id, house: Inside, viewer: Viewer) -> Response:
    """Delete a study with its answers and its copies of pictures."""
    for key in house.store.studies.forget(id, viewer):
        house.storage.delete(key)
    return RedirectResponse(PATH, status_code=303)


def _index(request: Request, house: House, viewer: str | None, owner: str, form: Wanted, fault: str = "") -> Response:
    context = {
        "studies": house.store.studies.all(viewer),
        "images": house.store.images(owner, OFFERED).items,
        "form": form,
        "fault": fault,
        "real": len(reference()),
        "max_pairs": MAX_PAIRS,
    }
    return render(request, "studies.html", status=422 if fault else 200, **context)
