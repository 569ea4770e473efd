"""Published pictures: what is known of them, and their bytes."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from app.deps import House, Id, Inside, Viewer
from app.errors import Invalid, NotFound, Unavailable, documented
from app.jobs.store import Image
from app.routes.paging import Cursor, Limit, link_next
from app.schemas import API, ImageDetailOut, ImagesOut

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already"}}

router = APIRouter(prefix=f"{API}/images", tags=["images"], responses=documented(Invalid, Unavailable))

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


def own_image(id: Id, house: Inside, viewer: Viewer) -> Image:
    """The picture in the path, if it is the caller's.  Raises: NotFound."""
    return house.store.image(id, viewer)


OwnImage = Annotated[Image, Depends(own_image)]
IfNoneMatch = Annotated[str | None, Header(max_length=8192)]


@router.get("", operation_id="listImages")
def index(
    house: Inside,
    viewer: Viewer,
    request: Request,
    response: Response,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ImagesOut:
    """Your pictures, newest first."""
    page = house.store.images(viewer, limit, cursor)
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
        **NOT_MODIFIED,
        **documented(NotFound),
    },
)
@router.head("/{id}/content", include_in_schema=False)
def content(image: OwnImage, house: Inside, if_none_match: IfNoneMatch = None) -> Response:
    """The file exactly as it was developed.  Its ETag is its SHA-256."""
    headers = {"Content-Disposition": f'inline; filename="darkroom-{image.seed}.{suffix(image)}"'}
    return _file(house, image.key, MEDIA_TYPES[image.format], image.sha256, headers, if_none_match)


@router.get(
    "/{id}/thumbnail/256",
    operation_id="getImageThumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **NOT_MODIFIED, **documented(NotFound)},
)
@router.head("/{id}/thumbnail/256", include_in_schema=False)
def thumbnail(image: OwnImage, house: Inside, if_none_match: IfNoneMatch = None) -> Response:
    """The picture as a WebP that fits into 256 by 256 pixels."""
    tag = f"{image.sha256}-256"
    return _file(house, image.thumbnail_key, MEDIA_TYPES["webp"], tag, {}, if_none_match)


def _file(
    house: House,
    key: str,
    media_type: str,
    tag: str,
    headers: Mapping[str, str],
    if_none_match: str | None,
) -> Response:
    """What is stored under `key`, or 304 if the client has it; either may be kept for ever."""
    etag = f'"{tag}"'
    headers = {**headers, "ETag": etag, "Cache-Control": "private, max-age=31536000, immutable"}
    if if_none_match is not None and _names(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(house.storage.get(key), headers=headers, media_type=media_type)


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names our tag; W/ does not matter when a GET is compared."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def suffix(image: Image) -> str:
    """The ending of a file name for this picture."""
    return "jpg" if image.format == "jpeg" else image.format
