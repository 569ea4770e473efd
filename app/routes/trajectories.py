"""How a picture was developed: its steps, and whether it comes out the same again.  Workers do both, as jobs."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Response

from app import desk
from app.deps import House, Inside, Owner
from app.errors import Conflict, Invalid, NotFound, Unavailable, documented
from app.jobs.spec import DecodeParams, VerifyParams, recipe_of
from app.jobs.store import Image, Job
from app.routes.images import OwnImage
from app.routes.jobs import SHARE, accepted
from app.routes.sending import PARTLY, Part, Wanted, send
from app.schemas import API, JobOut, TrajectoryOut

router = APIRouter(prefix=f"{API}/images", tags=["images"], responses=documented(NotFound, Invalid, Unavailable))

Step = Annotated[int, Path(ge=1, le=2000, description="counted from 1")]

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture of the step", "content": {"image/png": {}}}
}


@router.get("/{id}/trajectory", operation_id="getTrajectory")
def trajectory(image: OwnImage, house: Inside) -> TrajectoryOut:
    """The steps that are kept: all of them where the job said `save_trajectory`, else none."""
    steps = _steps(image)
    return TrajectoryOut.of(image, steps, house.store.inquiries.decoded(image, steps))


@router.get(
    "/{id}/trajectory/{step}",
    operation_id="getTrajectoryPicture",
    response_class=Response,
    responses={**PICTURE, **PARTLY},
)
def picture(image: OwnImage, step: Step, house: Inside, wanted: Part) -> Response:
    """What the model took the picture to be after this step, once it is decoded."""
    found = _decoded(house, image, step, wanted)
    if found is None:
        raise NotFound("The picture of this step is not decoded, or the step is not kept.")
    return found


@router.post(
    "/{id}/trajectory/{step}",
    operation_id="decodeTrajectoryStep",
    status_code=202,
    response_model=JobOut,
    responses={**PICTURE, **documented(*SHARE)},
)
def decode(
    image: OwnImage, step: Step, house: Inside, owner: Owner, tasks: BackgroundTasks, response: Response
) -> JobOut | Response:
    """The picture of this step if it is decoded already, else the job that decodes it."""
    if (found := _decoded(house, image, step, Wanted())) is not None:
        return found
    part = next((part for part in image.trajectory if part.holds(step)), None)
    if part is None:
        raise NotFound("This step is not kept.")
    params = DecodeParams(
        task="decode",
        image=image.id,
        recipe=recipe_of(image.params, image.seed),
        step=step,
        sha256=part.sha256,
        place=step - part.first,
    )
    return accepted(house, desk.ask(house, params, owner, tasks.add_task), response)


@router.post("/{id}/verify", operation_id="verifyImage", status_code=202, responses=documented(Conflict, *SHARE))
def verify(image: OwnImage, house: Inside, owner: Owner, tasks: BackgroundTasks, response: Response) -> JobOut:
    """Develop a reproducible picture again; the job's `result` says whether every pixel is the same."""
    return accepted(house, ask_to_verify(house, image, owner, tasks.add_task), response)


def ask_to_verify(house: House, image: Image, owner: str, later: desk.Later) -> Job:
    """The job that develops a picture again.  Raises: Conflict, where no worker could."""
    _check_verifiable(house, image)
    params = VerifyParams(
        task="verify",
        image=image.id,
        recipe=recipe_of(image.params, image.seed),
        sha256=image.sha256,
        made_on=image.fingerprint,
    )
    return desk.ask(house, params, owner, later)


def _steps(image: Image) -> range:
    """The steps that are kept, in their order."""
    return range(1, 1 + sum(part.steps for part in image.trajectory))


def _decoded(house: House, image: Image, step: int, wanted: Wanted) -> Response | None:
    """The picture of a step; None if it is not decoded.  Raises: NotSatisfiable; NoSuchFile; StorageError."""
    found = house.store.inquiries.decoded(image, range(step, step + 1)).get(step)
    if found is None:
        return None
    return send(house, found["key"], "image/png", found["sha256"], {}, wanted)


def _check_verifiable(house: House, image: Image) -> None:
    """Refuse what no worker could find out.  Raises: Conflict."""
    recipe = image.params
    if not recipe.reproducible:
        raise Conflict("The picture was not made to be reproducible.")
    names = [name for name in (recipe.model, recipe.second_model) if name]
    revisions = {entry.name: entry.revision for entry in house.store.catalogue()}
    if "+".join(revisions.get(name, "") for name in names) != image.model_revision:
        raise Conflict("The model that made the picture has changed since.")
    workers = house.store.workers_alive()
    if not any(worker.can_do(recipe.model, recipe.second_model, image.fingerprint) for worker in workers):
        raise Conflict("No worker is running that has the picture's model and its fingerprint.")
