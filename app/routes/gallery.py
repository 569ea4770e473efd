"""The gallery: contact sheets that can be searched, and each print with its recipe and what can be made of it."""

from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response

from app import desk
from app.deps import House, Inside, Owner, Viewer
from app.jobs.failures import BadSearch
from app.jobs.spec import ImageToImage, draw_seed
from app.jobs.store import Image
from app.routes import form, trajectories
from app.routes.cards import shown
from app.routes.images import OwnImage
from app.routes.paging import Cursor
from app.routes.rendering import READ, is_part, recipe_of, render
from app.routes.viewing import View, Viewed

PER_PAGE = 48

# How much of a picture a variation of it may change.
VARIATION = 0.6

router = APIRouter(prefix="/images", include_in_schema=False)


@router.api_route("", methods=READ)
def index(request: Request, house: Inside, viewer: Viewer, view: Viewed, cursor: Cursor = None) -> Response:
    """The contact sheet: the prints that are looked for, newest first; where htmx asks, those that follow."""
    if is_part(request) and cursor is not None:
        page = house.store.gallery.search(viewer, view.search, PER_PAGE, cursor)
        return render(request, "_frames.html", images=page.items, next=page.next, view=view)
    return sheet(request, house, viewer, view, cursor)


@router.api_route("/{id}", methods=READ)
def show(request: Request, image: OwnImage, house: Inside) -> Response:
    """One print and its recipe."""
    catalogue = house.store.catalogue()
    return render(
        request,
        "image.html",
        image=image,
        recipe=recipe_of(image),
        form_query=form.query_of(image.params, image.seed),
        file_name=f"darkroom-{image.seed}.{image.suffix}",
        offered={task for entry in catalogue for task in entry.tasks},
        its_model_offers={task for entry in catalogue if entry.name == image.params.model for task in entry.tasks},
    )


@router.post("/{id}/again")
def again(
    request: Request, image: OwnImage, house: Inside, owner: Owner, viewer: Viewer, tasks: BackgroundTasks
) -> Response:
    """Queue the print's recipe with a new seed, and show the new job."""
    params = image.params.model_copy(update={"seed": draw_seed(), "num_images": 1})
    warnings = house.store.get(image.job_id, viewer).warnings
    return shown(request, house, desk.queue(house, params, owner, tasks.add_task, warnings))


@router.post("/{id}/vary")
def vary(request: Request, image: OwnImage, house: Inside, owner: Owner, tasks: BackgroundTasks) -> Response:
    """Queue a picture that begins with this one and goes its own way, and show the job."""
    return shown(request, house, desk.submit(house, _variation(image), owner, tasks.add_task))


@router.post("/{id}/verify")
def verify(request: Request, image: OwnImage, house: Inside, owner: Owner, tasks: BackgroundTasks) -> Response:
    """Have a reproducible print developed again and compared, and show the job."""
    return shown(request, house, trajectories.ask_to_verify(house, image, owner, tasks.add_task))


def sheet(
    request: Request, house: House, viewer: str | None, view: View, cursor: str | None = None, **done: Any
) -> Response:
    """The page of the contact sheet; with what was just `done`, if anything was."""
    around = {
        "view": view,
        "tags": house.store.gallery.tags(viewer),
        "tasks": sorted({task for entry in house.store.catalogue() for task in entry.tasks}),
        "is_first": cursor is None,
        "deleted": (),
        **done,
    }
    try:
        page = house.store.gallery.search(viewer, view.search, PER_PAGE, cursor)
    except BadSearch as error:
        return render(request, "images.html", status=422, images=(), next=None, fault=error.message, **around)
    return render(request, "images.html", images=page.items, next=page.next, fault=None, **around)


def _variation(image: Image) -> ImageToImage:
    params = image.params
    return ImageToImage(
        task="image_to_image",
        image=f"image:{image.id}",
        strength=VARIATION,
        prompt=params.title,
        negative_prompt=params.negative_prompt,
        prompt_syntax=params.prompt_syntax,
        model=params.model,
        steps=params.steps,
        guidance_scale=params.guidance_scale,
        sampler=params.sampler,
        eta=params.eta,
        format=params.format,
        quality=params.quality,
    )
