"""Published pictures: what is known of them, and their bytes."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from app.deps import House, Id, Inside, Viewer
from app.errors import Invalid, NotFound, NotSatisfiable, Unavailable, documented
from app.jobs.store import Image
from app.routes.paging import Cursor, Limit, link_next
from app.schemas import API, ImageDetailOut, ImagesOut

PARTLY: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part that was asked for"},
    304: {"description": "The client has it already"},
    **documented(NotFound, NotSatisfiable),
}

router = APIRouter(prefix=f"{API}/images", tags=["images"], responses=documented(Invalid, Unavailable))

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


def own_image(id: Id, house: Inside, viewer: Viewer) -> Image:
    """The picture in the path, if it is the caller's.  Raises: NotFound."""
    return house.store.image(id, viewer)


OwnImage = Annotated[Image, Depends(own_image)]

# One range; a client that asks for several gets the whole, which it must be ready for.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a file the client wants, and what it has already."""

    if_none_match: Annotated[str | None, Header(max_length=8192)] = None
    range: Annotated[str | None, Header(max_length=200)] = None
    if_range: Annotated[str | None, Header(max_length=200)] = None


Part = Annotated[Wanted, Depends(Wanted)]


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
        **PARTLY,
    },
)
@router.head("/{id}/content", include_in_schema=False)
def content(image: OwnImage, house: Inside, wanted: Part) -> Response:
    """The file exactly as it was developed.  Its ETag is its SHA-256."""
    headers = {"Content-Disposition": f'inline; filename="darkroom-{image.seed}.{suffix(image)}"'}
    return _file(house, image.key, MEDIA_TYPES[image.format], image.sha256, headers, wanted)


@router.get(
    "/{id}/thumbnail/256",
    operation_id="getImageThumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **PARTLY},
)
@router.head("/{id}/thumbnail/256", include_in_schema=False)
def thumbnail(image: OwnImage, house: Inside, wanted: Part) -> Response:
    """The picture as a WebP that fits into 256 by 256 pixels."""
    tag = f"{image.sha256}-256"
    return _file(house, image.thumbnail_key, MEDIA_TYPES["webp"], tag, {}, wanted)


def _file(
    house: House,
    key: str,
    media_type: str,
    tag: str,
    headers: Mapping[str, str],
    wanted: Wanted,
) -> Response:
    """What is stored under `key`, or the part of it that is wanted, or 304 if the client has it.

    Each may be kept for ever.  Raises: NotSatisfiable; NoSuchFile; StorageError.
    """
    etag = f'"{tag}"'
    headers = {
        **headers,
        "ETag": etag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
    }
    if wanted.if_none_match is not None and _names(wanted.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    # A range of another file would be patched into this one.
    is_partial = wanted.range is not None and wanted.if_range in (None, etag)
    if not is_partial or (match := _RANGE.fullmatch(str(wanted.range))) is None:
        return Response(house.storage.get(key), headers=headers, media_type=media_type)
    with house.storage.open(key) as file:
        size = file.seek(0, os.SEEK_END)
        first, last = _bounds(match, size)
        file.seek(first)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(file.read(last - first + 1), 206, headers=headers, media_type=media_type)


def _bounds(wanted: re.Match[str], size: int) -> tuple[int, int]:
    """The first and the last byte of a range.  Raises: NotSatisfiable."""
    first, last, suffix_length = wanted.groups()
    if suffix_length is not None:
        bounds = max(0, size - int(suffix_length)), size - 1
    else:
        bounds = int(first), min(int(last), size - 1) if last else size - 1
    if bounds[0] > bounds[1]:
        raise NotSatisfiable(f"There are {size} bytes.", headers={"Content-Range": f"bytes */{size}"})
    return bounds


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names our tag; W/ does not matter when a GET is compared."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def suffix(image: Image) -> str:
    """The ending of a file name for this picture."""
    return "jpg" if image.format == "jpeg" else image.format
