"""Published pictures: what is known of them, and their bytes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from app import thumbnails
from app.deps import Id, Inside, Viewer
from app.errors import Invalid, NotFound, Unavailable, documented
from app.jobs.failures import NoSuchFile
from app.jobs.store import Image
from app.routes.finding import Sought
from app.routes.paging import Cursor, Limit, link_next
from app.routes.sending import PARTLY, Part, send
from app.schemas import API, ImageDetailOut, ImagesOut

router = APIRouter(prefix=f"{API}/images", tags=["images"], responses=documented(Invalid, Unavailable))

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


def own_image(id: Id, house: Inside, viewer: Viewer) -> Image:
    """The picture in the path, if it is the caller's.  Raises: NotFound."""
    return house.store.image(id, viewer)


OwnImage = Annotated[Image, Depends(own_image)]

SIDES = {str(side): side for side in thumbnails.SIDES}

# Text: another side is not there, whether or not it is a number.
Side = Annotated[str, Path(json_schema_extra={"enum": list(SIDES)})]


@router.get("", operation_id="listImages")
def index(
    house: Inside,
    viewer: Viewer,
    sought: Sought,
    request: Request,
    response: Response,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ImagesOut:
    """Your pictures that fit all that is asked, newest first."""
    page = house.store.gallery.search(viewer, sought, limit, cursor)
    link_next(request, response, page.next)
    return ImagesOut(items=[ImageDetailOut.of(image) for image in page.items], next_cursor=page.next)


@router.get("/{id}", operation_id="getImage", responses=documented(NotFound))
def show(image: OwnImage) -> ImageDetailOut:
    """One picture's recipe and facts."""
    return ImageDetailOut.of(image)


@router.get(
    "/{id}/content",
    operation_id="getImageContent",
    response_class=Response,
    responses={
        200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}},
        **PARTLY,
    },
)
@router.head("/{id}/content", include_in_schema=False)
def content(image: OwnImage, house: Inside, wanted: Part) -> Response:
    """The file exactly as it was developed.  Its ETag is its SHA-256."""
    headers = {"Content-Disposition": f'inline; filename="darkroom-{image.seed}.{image.suffix}"'}
    return send(house, image.key, MEDIA_TYPES[image.format], image.sha256, headers, wanted)


@router.get(
    "/{id}/thumbnail/{side}",
    operation_id="getImageThumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **PARTLY},
)
@router.head("/{id}/thumbnail/{side}", include_in_schema=False)
def thumbnail(image: OwnImage, side: Side, house: Inside, wanted: Part) -> Response:
    """The picture as a WebP that fits into a square of so many pixels; never larger than the picture.

    One larger than 256 is made when it is first asked for.
    """
    if side not in SIDES:
        raise NotFound("No such thing is known here.")
    key, tag = thumbnails.key_of(image, SIDES[side]), f"{image.sha256}-{side}"
    try:
        return send(house, key, MEDIA_TYPES["webp"], tag, {}, wanted)
    except NoSuchFile:
        thumbnails.make(house, image, SIDES[side])
        return send(house, key, MEDIA_TYPES["webp"], tag, {}, wanted)
