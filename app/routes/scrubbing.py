"""How a print came up, step by step: the page that slides through what the model took it to be after each."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request, Response
from fastapi.responses import RedirectResponse

from app import desk
from app.deps import Inside, Owner
from app.routes import trajectories
from app.routes.cards import shown
from app.routes.images import OwnImage
from app.routes.rendering import READ, render

router = APIRouter(prefix="/images/{id}/trajectory", include_in_schema=False)


@router.api_route("", methods=READ)
def trajectory(
    request: Request, image: OwnImage, house: Inside, step: Annotated[int, Query(ge=1)] = 1, wait: bool = False
) -> Response:
    """The picture after one step, and the way to the others; where none was kept, how to have them kept."""
    steps = sum(part.steps for part in image.trajectory)
    if steps == 0:
        return render(request, "trajectory_none.html", image=image)
    decoded = sorted(house.store.inquiries.decoded(image, range(1, steps + 1)))
    at = min(step, steps)
    awaited = wait and at not in decoded
    return render(request, "trajectory.html", image=image, steps=steps, step=at, decoded=decoded, is_awaited=awaited)


@router.post("/{step}")
def decode(
    image: OwnImage, step: trajectories.Step, house: Inside, owner: Owner, tasks: BackgroundTasks, response: Response
) -> Response:
    """Let a step be developed, and show it, or the page that waits for it."""
    trajectories.decode(image, step, house, owner, tasks, response)
    return RedirectResponse(f"/images/{image.id}/trajectory?step={step}&wait=true", status_code=303)


@router.post("")
def keep(request: Request, image: OwnImage, house: Inside, owner: Owner, tasks: BackgroundTasks) -> Response:
    """Develop the print once more, the same in everything, and keep its steps this time."""
    params = image.params.model_copy(update={"seed": image.seed, "num_images": 1, "save_trajectory": True})
    return shown(request, house, desk.queue(house, params, owner, tasks.add_task))
