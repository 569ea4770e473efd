"""The OpenAI Images API: `openai` and its kin, with another base URL."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.deps import House, Inside, Pass, Shown, json_only
from app.dialects import asking, openai, pictures
from app.dialects.asking import Left, Order
from app.dialects.errors import NotNow, Undeveloped, Unwanted
from app.dialects.openai_answers import answer, events
from app.dialects.pictures import Shape
from app.errors import (
    Invalid,
    NotFound,
    QueueFull,
    QuotaReached,
    TooCostly,
    Unavailable,
    UnsupportedMedia,
    documented,
)
from app.faults import Fault, faults_of
from app.jobs.spec import MAX_FILE_BYTES, Format
from app.routes.images import MEDIA_TYPES, OwnImage
from app.schemas.openai import EditIn, GenerationIn, OfferedOut, OffersOut, PicturesOut, sides_of

PREFIX = "/v1"
MULTIPART = "multipart/form-data"

# A picture, its mask, and what is said of them.
MAX_EDIT_BYTES = 2 * MAX_FILE_BYTES + (256 << 10)
LARGE_BODIES = {f"{PREFIX}/images/edits": MAX_EDIT_BYTES}

PICTURES: dict[int | str, dict[str, Any]] = {
    **documented(UnsupportedMedia, TooCostly, QuotaReached, QueueFull, Undeveloped, Unwanted, NotNow),
    200: {
        "model": PicturesOut,
        "content": {
            "text/event-stream": {"schema": {"type": "string", "description": "events, where `stream` is true"}}
        },
        "headers": asking.HEADERS,
    },
}

UNKEPT = {"Cache-Control": "no-cache"}

_FILE = {"type": "string", "format": "binary"}
_FORM = EditIn.model_json_schema()
_FORM["properties"] = {"image": _FILE, "mask": _FILE, **_FORM["properties"]}
_FORM["required"] = ["image", *_FORM["required"]]
EDIT_BODY = {"requestBody": {"required": True, "content": {MULTIPART: {"schema": _FORM}}}}

router = APIRouter(prefix=PREFIX, tags=["OpenAI dialect"], responses=documented(Invalid, Unavailable))


@dataclass(frozen=True, slots=True)
class Sent:
    """The form of an edit."""

    said: EditIn
    image: bytes
    mask: bytes | None


async def asks_again(
    retries: Annotated[
        str | None,
        Header(alias="x-stainless-retry-count", description="above 0: attach to the job of the same request"),
    ] = None,
) -> bool:
    """Whether the client sends again what it has sent before: it does so by itself, and names no key."""
    return retries is not None and retries.isdecimal() and int(retries[:4]) > 0


async def sent_edit(request: Request) -> Sent:
    """The form of an edit.  Raises: UnsupportedMedia; Invalid."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MULTIPART:
        raise UnsupportedMedia(f"Content-Type must be {MULTIPART}.")
    async with request.form(max_files=4, max_fields=100) as form:
        try:
            said = EditIn.model_validate(
                {name: value for name, value in form.items() if isinstance(value, str) and value}
            )
        except ValidationError as error:
            raise Invalid.of(*faults_of([{**each, "loc": ("body", *each["loc"])} for each in error.errors()])) from None
        image = await _file(form, "image")
        if image is None:
            raise Invalid.of(Fault.of_field("image", "is required"))
        return Sent(said, image, await _file(form, "mask"))


Again = Annotated[bool, Depends(asks_again)]


@router.post(
    "/images/generations",
    operation_id="openaiGenerate",
    response_model=None,
    responses=PICTURES,
    dependencies=[Depends(json_only)],
)
async def generate(asked: GenerationIn, house: Inside, shown: Shown, request: Request, again: Again) -> Response:
    """Pictures from words.  The answer comes when they are done; the job goes on if the client leaves."""
    order, shape = await run_in_threadpool(openai.generation, house, asked)
    return await _developed(house, order, shape, asked, shown, request, again)


@router.post(
    "/images/edits", operation_id="openaiEdit", response_model=None, responses=PICTURES, openapi_extra=EDIT_BODY
)
async def edit(
    sent: Annotated[Sent, Depends(sent_edit)], house: Inside, shown: Shown, request: Request, again: Again
) -> Response:
    """Pictures from a picture and words; with a mask, only where that is transparent."""

    def ordered() -> tuple[Order, Shape]:
        image = pictures.keep(house, sent.image, "image", shown.owner)
        mask = None if sent.mask is None else pictures.keep(house, sent.mask, "mask", shown.owner)
        return openai.edit(house, sent.said, image, mask)

    order, shape = await run_in_threadpool(ordered)
    return await _developed(house, order, shape, sent.said, shown, request, again)


@router.get(
    "/images/{id}/content", operation_id="openaiGetImage", response_class=Response, responses=documented(NotFound)
)
def content(
    image: OwnImage,
    house: Inside,
    size: Annotated[str | None, Query(max_length=11)] = None,
    format: Format = "png",
    quality: Annotated[int, Query(ge=1, le=100)] = openai.QUALITY,
) -> Response:
    """A picture as `response_format: url` names it.  Whoever looks needs the key."""
    file = pictures.finished(house, image, Shape(sides_of(size), format, quality))
    return Response(file, media_type=MEDIA_TYPES[format], headers={"Cache-Control": "private, max-age=3600"})


@router.get("/models", operation_id="openaiListModels")
def models(house: Inside) -> OffersOut:
    """Every model that makes pictures from words."""
    return OffersOut(data=[OfferedOut(id=name) for name in _offered(house)])


@router.get("/models/{model}", operation_id="openaiGetModel", responses=documented(NotFound))
def model(model: str, house: Inside) -> OfferedOut:
    """One model."""
    if model not in _offered(house):
        raise NotFound("No such model is known here.")
    return OfferedOut(id=model)


async def _developed(
    house: House, order: Order, shape: Shape, asked: GenerationIn, shown: Pass, request: Request, again: bool
) -> Response:
    job = await run_in_threadpool(lambda: asking.place(house, openai.NAME, order, shown.owner, again=again))
    headers = asking.headers_of(job, shape)
    if asked.stream:
        kind = "image_edit" if isinstance(asked, EditIn) else "image_generation"
        stream = events(house, job, shown, shape, kind, asked.partial_images or 0)
        return StreamingResponse(stream, media_type="text/event-stream", headers={**headers, **UNKEPT})
    try:
        done = await asking.ended(house, job, shown, request)
    except Left:
        return Response(status_code=499)
    url_base = str(request.base_url) if asked.response_format == "url" else None
    told = await answer(house, done, shape, url_base=url_base)
    return JSONResponse(told.model_dump(mode="json", exclude_none=True), headers=headers)


async def _file(form: FormData, name: str) -> bytes | None:
    """The file of this name, which clients also write as a list.  Raises: Invalid if there are more."""
    files = [each for key in (name, f"{name}[]") for each in form.getlist(key) if isinstance(each, UploadFile)]
    if len(files) > 1:
        raise Invalid.of(Fault.of_field(name, "must be one picture"))
    return await files[0].read() if files else None


def _offered(house: House) -> list[str]:
    return [entry.name for entry in house.store.catalogue() if "text_to_image" in entry.tasks]
