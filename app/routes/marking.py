"""What is done with prints on the pages: starred, rated, tagged, thrown away and brought back, one or many."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from app.deps import House, Id, Inside, Viewer, form_only
from app.errors import Invalid
from app.faults import Fault
from app.jobs.search import MAX_RATING, MAX_TAGS, tag_of
from app.jobs.store import Opinion
from app.routes import keeping
from app.routes.gallery import sheet
from app.routes.rendering import is_part, render
from app.routes.viewing import View, Viewed
from app.schemas.keeping import MAX_IDS, ZipIn

router = APIRouter(prefix="/images", include_in_schema=False, dependencies=[Depends(form_only)])

_ID = re.compile(r"[0-9a-f]{32}")


async def sent_form(request: Request) -> FormData:
    """The form in the body."""
    return await request.form(max_files=0, max_fields=MAX_IDS + 50)


def marked(form: Annotated[FormData, Depends(sent_form)]) -> list[str]:
    """The prints that are marked on the sheet.  Raises: Invalid."""
    ids = [str(id) for id in dict.fromkeys(form.getlist("ids"))]
    if not 1 <= len(ids) <= MAX_IDS:
        raise Invalid.of(Fault.of_field("ids", f"must be 1 to {MAX_IDS} prints: mark some first"))
    if not all(_ID.fullmatch(id) for id in ids):
        raise Invalid.of(Fault.of_field("ids", "must name prints"))
    return ids


Sent = Annotated[FormData, Depends(sent_form)]
Marked = Annotated[list[str], Depends(marked)]


@router.post("/delete")
def delete(request: Request, ids: Marked, house: Inside, viewer: Viewer, view: Viewed) -> Response:
    """Throw prints away; for a week that can be undone."""
    gone = house.store.gallery.delete(ids, viewer)
    return _after(request, house, viewer, view, deleted=[id for id in ids if id in gone])


@router.post("/restore")
def restore(request: Request, ids: Marked, house: Inside, viewer: Viewer, view: Viewed) -> Response:
    """Bring thrown away prints back, and show the sheet with them."""
    house.store.gallery.restore(ids, viewer)
    return RedirectResponse(f"/images?{view.query}", status_code=303)


@router.post("/tag")
def tag(request: Request, ids: Marked, form: Sent, house: Inside, viewer: Viewer, view: Viewed) -> Response:
    """Put a tag on prints, beside those they have."""
    house.store.gallery.tag(ids, viewer, add=_tags(form))
    return RedirectResponse(f"/images?{view.query}", status_code=303)


@router.post("/zip")
def send_zip(ids: Marked, house: Inside, viewer: Viewer) -> Response:
    """Prints in one file."""
    return keeping.send_zip(ZipIn(ids=ids), house, viewer)


@router.post("/{id}/star")
def star(request: Request, id: Id, form: Sent, house: Inside, viewer: Viewer, view: Viewed) -> Response:
    """Make a print a favourite or not one, from the sheet."""
    image = house.store.gallery.judge(id, viewer, Opinion(favourite=form.get("favourite") == "true"))
    if is_part(request):
        return render(request, "_frames.html", images=[image], next=None, view=view)
    return RedirectResponse(f"/images?{view.query}#frame-{id}", status_code=303)


@router.post("/{id}/opinion")
def judge(id: Id, form: Sent, house: Inside, viewer: Viewer) -> Response:
    """Say what one thinks of a print, from its page."""
    house.store.gallery.judge(id, viewer, _opinion(form))
    return RedirectResponse(f"/images/{id}", status_code=303)


def _opinion(form: FormData) -> Opinion:
    """What the form says of a print; what it does not say stays.  Raises: Invalid."""
    rating = form.get("rating")
    if rating is not None and str(rating) not in map(str, range(MAX_RATING + 1)):
        raise Invalid.of(Fault.of_field("rating", f"must be 0 to {MAX_RATING}"))
    return Opinion(
        favourite=None if "favourite" not in form else form["favourite"] == "true",
        rating=None if rating is None else int(str(rating)),
        tags=_tags(form) if "tags" in form else None,
    )


def _tags(form: FormData) -> tuple[str, ...]:
    """The tags in the form's field, parted by commas.  Raises: Invalid."""
    said = [part for part in str(form.get("tags", "")).split(",") if part.strip()]
    try:
        return tuple(dict.fromkeys(tag_of(part) for part in said[: MAX_TAGS + 1]))
    except ValueError as error:
        raise Invalid.of(Fault.of_field("tags", str(error))) from None


def _after(request: Request, house: House, viewer: str | None, view: View, **done: Any) -> Response:
    """What was done, where htmx asked; else the sheet, and what was done above it."""
    if is_part(request):
        return render(request, "_done.html", view=view, **done)
    return sheet(request, house, viewer, view, **done)
