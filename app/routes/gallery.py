"""The gallery: contact sheets of prints, and each print with its recipe."""

from fastapi import APIRouter, BackgroundTasks, Request, Response

from app import desk
from app.deps import Inside, Owner, Viewer
from app.jobs.spec import draw_seed
from app.routes import form
from app.routes.cards import shown
from app.routes.images import OwnImage, suffix
from app.routes.paging import Cursor
from app.routes.rendering import READ, recipe_of, render

PER_PAGE = 48

router = APIRouter(prefix="/images", include_in_schema=False)


@router.api_route("", methods=READ)
def index(request: Request, house: Inside, viewer: Viewer, cursor: Cursor = None) -> Response:
    """The contact sheet: every print, newest first."""
    page = house.store.images(viewer, PER_PAGE, cursor)
    return render(request, "images.html", images=page.items, next=page.next, is_first=cursor is None)


@router.api_route("/{id}", methods=READ)
def show(request: Request, image: OwnImage) -> Response:
    """One print and its recipe."""
    filled = form.query_of(image.params, image.seed)
    name = f"darkroom-{image.seed}.{suffix(image)}"
    return render(request, "image.html", image=image, recipe=recipe_of(image), form_query=filled, file_name=name)


@router.post("/{id}/again")
def again(
    request: Request, image: OwnImage, house: Inside, owner: Owner, viewer: Viewer, tasks: BackgroundTasks
) -> Response:
    """Queue the print's recipe with a new seed, and show the new job."""
    params = image.params.model_copy(update={"seed": draw_seed(), "num_images": 1})
    warnings = house.store.get(image.job_id, viewer).warnings
    return shown(request, house, desk.queue(house, params, owner, tasks.add_task, warnings))
