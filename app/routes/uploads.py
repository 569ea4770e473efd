"""Uploads: pictures that jobs are made from."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app import intake
from app.deps import Inside, Owner
from app.errors import (
    BadRequest,
    Invalid,
    QuotaReached,
    TooLarge,
    TooOften,
    Unavailable,
    UnsupportedMedia,
    documented,
)
from app.faults import Fault
from app.jobs.spec import MAX_FILE_BYTES
from app.schemas import API, UploadOut

# A multipart body is a little more than the file in it.
MAX_BODY_BYTES = MAX_FILE_BYTES + (64 << 10)

MULTIPART = "multipart/form-data"
RAW = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
        "description": "one file, in a field of any name",
    }
}
BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {**dict.fromkeys(RAW, _PICTURE), MULTIPART: _FORM}}
}

PATH = f"{API}/uploads"

router = APIRouter(prefix=PATH, tags=["uploads"], responses=documented(Invalid, Unavailable))


async def sent_file(request: Request) -> bytes:
    """The one file in the body, raw or as a form.  Raises: UnsupportedMedia; Invalid; TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in RAW:
        data = await request.body()
    elif kind == MULTIPART:
        data = await _only_file(request)
    else:
        raise UnsupportedMedia(f"Content-Type must be one of {', '.join((*RAW, MULTIPART))}.")
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"A picture may have at most {MAX_FILE_BYTES >> 20} MiB.")
    return data


@router.post(
    "",
    operation_id="uploadImage",
    status_code=201,
    openapi_extra=BODY,
    responses=documented(BadRequest, TooLarge, UnsupportedMedia, TooOften, QuotaReached),
)
def upload(data: Annotated[bytes, Depends(sent_file)], house: Inside, owner: Owner) -> UploadOut:
    """Keep a PNG, JPEG or WebP for a day, for jobs to be made from.  What it says besides its pixels is dropped."""
    return UploadOut.of(intake.upload(house, data, owner))


async def _only_file(request: Request) -> bytes:
    async with request.form(max_files=1, max_fields=10) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise Invalid.of(Fault(pointer="#", detail="must hold one file"))
        return await run_in_threadpool(files[0].file.read)
