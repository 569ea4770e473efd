"""AUTOMATIC1111's API: what `webuiapi` and the UIs that speak it ask for while they make pictures."""

import html
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app import desk
from app.deps import House, Inside, Owner, Pass, Shown, json_only
from app.dialects import asking, pictures, sdapi, sdapi_answers, sdapi_extra
from app.dialects.asking import Left, Order
from app.dialects.errors import NotNow, Undeveloped, problem_of_job
from app.dialects.pictures import Shape
from app.errors import Invalid, QueueFull, QuotaReached, TooCostly, Unavailable, UnsupportedMedia, documented
from app.jobs.failures import NotCancellable, SpecError
from app.jobs.spec import MAX_FILE_BYTES
from app.jobs.store import Job, State
from app.schemas.sdapi import (
    AskedIn,
    ExtraIn,
    ExtraOut,
    Img2ImgIn,
    PicturesOut,
    PngInfoIn,
    PngInfoOut,
    ProgressOut,
    Txt2ImgIn,
)

PREFIX = "/sdapi/v1"

# Pictures come in base64, and what extensions send beside them is only ignored once it is here.
MAX_BODY_BYTES = 2 * MAX_FILE_BYTES * 4 // 3 + (1 << 20)
LARGE_BODIES = {f"{PREFIX}/{name}": MAX_BODY_BYTES for name in ("txt2img", "img2img", "extra-single-image", "png-info")}

WORK: dict[int | str, dict[str, Any]] = {
    **documented(UnsupportedMedia, TooCostly, QuotaReached, QueueFull, Undeveloped, NotNow),
    200: {"model": PicturesOut, "headers": asking.HEADERS},
}

router = APIRouter(prefix=PREFIX, tags=["A1111 dialect"], responses=documented(Invalid, Unavailable))

JSON = [Depends(json_only)]


@router.post("/txt2img", operation_id="sdapiTxt2img", response_model=None, responses=WORK, dependencies=JSON)
async def txt2img(asked: Txt2ImgIn, house: Inside, shown: Shown, request: Request) -> Response:
    """Pictures from words.  The answer comes when they are done; the job goes on if the client leaves."""
    return await _developed(house, asked, lambda: sdapi.from_words(house, asked, shown.owner), shown, request)


@router.post("/img2img", operation_id="sdapiImg2img", response_model=None, responses=WORK, dependencies=JSON)
async def img2img(asked: Img2ImgIn, house: Inside, shown: Shown, request: Request) -> Response:
    """Pictures from a picture and words; with a mask, only what is white there is painted anew."""
    return await _developed(house, asked, lambda: sdapi.from_picture(house, asked, shown.owner), shown, request)


@router.post(
    "/extra-single-image",
    operation_id="sdapiExtraSingleImage",
    response_model=None,
    responses={**WORK, 200: {"model": ExtraOut}},
    dependencies=JSON,
)
async def extra_single_image(asked: ExtraIn, house: Inside, shown: Shown, request: Request) -> Response:
    """A picture made larger: by a model, or by scaling alone where `upscaler_1` says so."""
    way = await run_in_threadpool(sdapi_extra.way_of, house, asked, shown.owner)
    file, said = way.file, way.said
    if way.order is not None:
        order = way.order
        job = await run_in_threadpool(lambda: asking.place(house, sdapi.NAME, order, shown.owner))
        try:
            job = await asking.ended(house, job, shown, request)
        except Left:
            return Response(status_code=499)
        if job.state is not State.SUCCEEDED:
            raise problem_of_job(job)
        file = await run_in_threadpool(pictures.finished, house, job.images[0], Shape(way.size))
    answer = ExtraOut(html_info=f"<p>{html.escape(said)}</p>", image=pictures.base64_of(file))
    return JSONResponse(answer.model_dump())


@router.post("/png-info", operation_id="sdapiPngInfo", dependencies=JSON)
def png_info(asked: PngInfoIn) -> PngInfoOut:
    """The recipe that a picture says it was made from; empty if it says none."""
    from app.jobs.recipe import NoRecipe, split_infotext, written

    try:
        text = written(sdapi.bytes_of(asked.image, "image"))
        prompt, negative, settings = split_infotext(text) if text else ("", "", {})
    except NoRecipe as error:
        raise SpecError("image", "a file", "must be a PNG, JPEG or WebP that can be read") from error
    parameters = {"Prompt": prompt, "Negative prompt": negative, **settings} if text else {}
    return PngInfoOut(info=text, items={"parameters": text} if text else {}, parameters=parameters)


@router.get("/progress", operation_id="sdapiProgress")
async def progress(house: Inside, owner: Owner, skip_current_image: bool = False) -> ProgressOut:
    """How far your oldest running job of this API is; of those that wait, if none runs."""
    jobs = await run_in_threadpool(house.store.dialects.under_way, sdapi.NAME, owner)
    if not jobs:
        return sdapi_answers.IDLE
    uri = None if skip_current_image else await house.watch.preview(jobs[0])
    preview = None if uri is None else await run_in_threadpool(pictures.preview, uri, Shape(None))
    return sdapi_answers.progress(jobs[0], len(jobs), None if preview is None else pictures.base64_of(preview))


@router.post("/interrupt", operation_id="sdapiInterrupt")
@router.post("/skip", operation_id="sdapiSkip")
def interrupt(house: Inside, owner: Owner, tasks: BackgroundTasks) -> dict[str, Any]:
    """Cancel your oldest running job of this API; of those that wait, if none runs.  It has no pictures then."""
    jobs = house.store.dialects.under_way(sdapi.NAME, owner)
    # Of one alone, also when it is asked for twice: the next job is somebody's who never meant it.
    if jobs:
        with suppress(NotCancellable):
            desk.cancel(house, jobs[0].id, owner, tasks.add_task)
    return {}


async def _developed(
    house: House, asked: AskedIn, order_of: Callable[[], tuple[Order, Shape]], shown: Pass, request: Request
) -> Response:
    def placed() -> tuple[Job, Shape]:
        order, shape = order_of()
        return asking.place(house, sdapi.NAME, order, shown.owner), shape

    job, shape = await run_in_threadpool(placed)
    try:
        done = await asking.ended(house, job, shown, request)
    except Left:
        return Response(status_code=499)
    answer = await sdapi_answers.answer(house, done, shape, asked)
    return JSONResponse(answer.model_dump(mode="json"), headers=asking.headers_of(done, shape))
