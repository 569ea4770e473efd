"""Pictures that people give: forms with files, the picture a page works on, the bytes of what jobs began with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app import intake
from app.deps import House, Id, Inside, Owner, OwnJob
from app.errors import Invalid, NotFound, TooLarge, UnsupportedMedia
from app.faults import Fault
from app.jobs.spec import MAX_FILE_BYTES
from app.routes.images import MEDIA_TYPES
from app.routes.rendering import render

# A picture and a mask, or a mask that was drawn, and the words around them.
MAX_BODY_BYTES = 2 * MAX_FILE_BYTES + (1 << 20)

LATEST = 24
MAX_FILES = 2
MAX_FIELDS = 40
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")

LARGE_BODIES = dict.fromkeys(("/edit", "/edit/picture", "/upscale", "/upscale/picture"), MAX_BODY_BYTES)
"""Where such forms are sent to, and how much they take."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a form sent: its texts, and those of its files that were chosen."""

    texts: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture that a page works on: how a wish names it, where a browser finds it, what it was made of."""

    reference: str
    src: str
    width: int
    height: int
    prompt: str = ""


async def sent(request: Request) -> Sent:
    """The form in the body.  Raises: UnsupportedMedia; TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMS:
        raise UnsupportedMedia(f"Content-Type must be one of {', '.join(FORMS)}.")
    options = {"max_files": MAX_FILES, "max_fields": MAX_FIELDS, "max_part_size": MAX_FILE_BYTES}
    async with request.form(**options) as form:
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        files = {
            name: await run_in_threadpool(value.file.read)
            for name, value in form.items()
            if isinstance(value, UploadFile) and value.filename
        }
    if any(len(data) > MAX_FILE_BYTES for data in files.values()):
        raise TooLarge(f"A picture may have at most {MAX_FILE_BYTES >> 20} MiB.")
    return Sent(texts, files)


SentForm = Annotated[Sent, Depends(sent)]

_REFERENCE = re.compile(r"(image|upload):([0-9a-f]{32})")


async def chosen(image: str | None = None, upload: str | None = None) -> str | None:
    """How a wish names the picture in the query, if there is one."""
    if image is not None:
        return f"image:{image}"
    return None if upload is None else f"upload:{upload}"


Chosen = Annotated[str | None, Depends(chosen)]


def picture(house: House, owner: str, reference: str) -> Picture:
    """The owner's picture that the reference names.  Raises: NotFound."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise NotFound("No such picture is known here.")
    kind, id = match.groups()
    if kind == "image":
        image = house.store.image(id, owner)
        return Picture(reference, f"/api/v1/images/{id}/content", image.width, image.height, image.params.prompt)
    given = house.store.upload(id, owner).blob.given
    return Picture(reference, f"/uploads/{id}", given.width, given.height)


def choice(
    request: Request, house: House, owner: str, path: str, template: str, fault: str = "", *, is_offered: bool = True
) -> Response:
    """The page at `path` while no picture is on it: one may be brought, or one of the last prints taken."""
    latest = house.store.images(owner, LATEST).items
    context = {"path": path, "images": latest, "is_offered": is_offered, "fault": fault}
    return render(request, template, status=422 if fault else 200, **context)


def keep(house: House, form: Sent, owner: str) -> str:
    """Keep the form's picture for a day; returns the upload's id.  Raises: Invalid; BadPicture."""
    if "picture" not in form.files:
        raise Invalid.of(Fault.of_field("picture", "must be chosen first"))
    return intake.upload(house, form.files["picture"], owner).id


@router.get("/uploads/{id}")
def upload(id: Id, house: Inside, owner: Owner) -> Response:
    """An upload, as its owner's pages show it."""
    return _png(house, house.store.upload(id, owner).blob.key)


@router.get("/jobs/{id}/given/{role}")
def given(job: OwnJob, role: Literal["image", "mask"], house: Inside) -> Response:
    """A picture that a job is made from.  Raises: NotFound."""
    keys = house.store.inputs(job.id)
    if role not in keys:
        raise NotFound("No such thing is known here.")
    return _png(house, keys[role])


def _png(house: House, key: str) -> Response:
    # What lies under a blob's key never changes.
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return Response(house.storage.get(key), headers=headers, media_type=MEDIA_TYPES["png"])
