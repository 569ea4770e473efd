"""Two prints beside each other, or one on the other, and in what their recipes differ."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.deps import Inside, Viewer
from app.jobs.store import Image
from app.routes.rendering import READ, recipe_of, render

LATEST = 24

Chosen = Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")]

# Of the file and its making rather than of the recipe: these differ always, and say nothing.
BY_THE_WAY = ("File", "Made")

router = APIRouter(include_in_schema=False)


@router.api_route("/compare", methods=READ)
def compare(request: Request, house: Inside, viewer: Viewer, a: Chosen = None, b: Chosen = None) -> Response:
    """Both prints; while one of them is missing, those there are to choose from."""
    if a is None or b is None:
        images = house.store.images(viewer, LATEST).items
        return render(request, "compare_choice.html", images=images, a=a, b=b)
    left, right = house.store.image(a, viewer), house.store.image(b, viewer)
    return render(request, "compare.html", left=left, right=right, rows=differences(left, right))


def differences(left: Image, right: Image) -> list[tuple[str, str, str, bool]]:
    """Both recipes line by line: a name, what is on the left, what on the right, whether they differ."""
    ours, theirs = (dict(_recipe(image)) for image in (left, right))
    names = [*ours, *(name for name in theirs if name not in ours)]
    sides = [(name, ours.get(name, ""), theirs.get(name, "")) for name in names]
    return [(name, one, other, one != other and name not in BY_THE_WAY) for name, one, other in sides]


def _recipe(image: Image) -> list[tuple[str, str]]:
    params = image.params
    without = [("Without", params.negative_prompt)] if params.negative_prompt else []
    return [("Prompt", params.prompt), *without, *recipe_of(image)]
