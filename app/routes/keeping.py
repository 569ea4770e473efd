"""What owners do with their pictures: judge, delete and restore them, one or many; take many home in one file."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends
from fastapi.openapi.models import Example
from fastapi.responses import StreamingResponse

from app import parcels
from app.deps import Id, Inside, Viewer, json_only
from app.errors import BadRequest, Invalid, NotFound, TooLarge, Unavailable, UnsupportedMedia, documented
from app.faults import Fault
from app.jobs import failures
from app.jobs.store import Opinion
from app.schemas import API, BulkIn, BulkOut, ImageDetailOut, OpinionIn, TagIn, ZipIn

router = APIRouter(prefix=f"{API}/images", tags=["images"], responses=documented(Invalid, Unavailable))

IDS = ["5b1e0c4fd2a84f6e9a7c3b2d1e0f9a8b", "0f8a5d2c7b9e4a10b3c6d7e8f9a0b1c2"]

OPINIONS: dict[str, Example] = {
    "favourite": {"summary": "A favourite", "value": {"favourite": True, "rating": 5}},
    "tags": {"summary": "All its tags", "value": {"tags": ["for print", "snow"]}},
}
ACTIONS: dict[str, Example] = {
    "delete": {"summary": "Delete, for a week", "value": {"action": "delete", "ids": IDS}},
    "restore": {"summary": "Take that back", "value": {"action": "restore", "ids": IDS}},
    "tag": {
        "summary": "Put tags on, take others off",
        "value": {"action": "tag", "ids": IDS, "add": ["for print"], "remove": ["draft"]},
    },
}

PARCEL: dict[str, Example] = {"two": {"summary": "Two pictures", "value": {"ids": IDS}}}

IN_JSON = [Depends(json_only)]
OF_JSON = documented(BadRequest, TooLarge, UnsupportedMedia)


@router.patch("/{id}", operation_id="judgeImage", dependencies=IN_JSON, responses={**documented(NotFound), **OF_JSON})
def judge(
    id: Id, said: Annotated[OpinionIn, Body(openapi_examples=OPINIONS)], house: Inside, viewer: Viewer
) -> ImageDetailOut:
    """Say whether it is a favourite, rate it, tag it.  What is not said stays; saying it again changes nothing."""
    tags = None if said.tags is None else tuple(said.tags)
    return ImageDetailOut.of(house.store.gallery.judge(id, viewer, Opinion(said.favourite, said.rating, tags)))


@router.delete("/{id}", operation_id="deleteImage", status_code=204, responses=documented(NotFound))
def delete(id: Id, house: Inside, viewer: Viewer) -> None:
    """Delete a picture.  It can be restored for a week; then it is gone with its files.  Again changes nothing."""
    _known(id, house.store.gallery.delete([id], viewer))


@router.post("/{id}/restore", operation_id="restoreImage", responses=documented(NotFound))
def restore(id: Id, house: Inside, viewer: Viewer) -> ImageDetailOut:
    """Take the deletion of a picture back, as long as it is not gone.  Again changes nothing."""
    _known(id, house.store.gallery.restore([id], viewer))
    return ImageDetailOut.of(house.store.image(id, viewer))


@router.post("/bulk", operation_id="changeImages", dependencies=IN_JSON, responses=OF_JSON)
def bulk(
    asked: Annotated[BulkIn, Body(discriminator="action", openapi_examples=ACTIONS)], house: Inside, viewer: Viewer
) -> BulkOut:
    """Delete, restore or tag many pictures, in one transaction; ids that are not yours are told, and change nothing.

    Each action may be repeated: it then finds done what it would do.
    """
    gallery = house.store.gallery
    if isinstance(asked, TagIn):
        found = gallery.tag(asked.ids, viewer, asked.add, asked.remove)
    else:
        found = (gallery.delete if asked.action == "delete" else gallery.restore)(asked.ids, viewer)
    return BulkOut(done=[id for id in asked.ids if id in found], not_found=[id for id in asked.ids if id not in found])


@router.post(
    "/zip",
    operation_id="zipImages",
    dependencies=IN_JSON,
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}}, **OF_JSON},
)
def send_zip(
    asked: Annotated[ZipIn, Body(openapi_examples=PARCEL)], house: Inside, viewer: Viewer
) -> StreamingResponse:
    """Many pictures in one file, as they were developed, recipes and all; made while it is sent."""
    images = house.store.gallery.some(asked.ids, viewer)
    found = {image.id for image in images}
    missing = [place for place, id in enumerate(asked.ids) if id not in found]
    if missing:
        raise Invalid.of(*(Fault.of_item("ids", place, "must name a picture of yours") for place in missing))
    headers = {"Content-Disposition": 'attachment; filename="darkroom.zip"', "Cache-Control": "private, no-store"}
    return StreamingResponse(parcels.zipped(house.storage, images), media_type="application/zip", headers=headers)


def _known(id: str, found: frozenset[str]) -> None:
    if id not in found:
        raise failures.NotFound(f"there is no image {id!r}")
