"""What a client of the OpenAI Images API is answered: its pictures at once, or as they appear, in events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, ServerSentEvent, format_sse_event

from app.deps import House, Pass
from app.dialects import pictures
from app.dialects.asking import ended, params_of
from app.dialects.errors import Said, openai_error, problem_of_job
from app.dialects.pictures import Shape
from app.dialects.sizing import Size, made_size, written
from app.errors import Internal
from app.jobs.events import BEGINNING
from app.jobs.store import Image, Job, State
from app.problems import problem_of
from app.schemas.openai import PictureOut, PicturesOut, StreamedOut, UsageOut

# Proxies give up on a connection that is silent, and a queue may be long.
_PING_S: Final = 15.0

log = structlog.get_logger()


def url_of(base: str, image: Image, job: Job, shape: Shape) -> str:
    """Where a picture lies, as this client wants it; `base` is the URL of this service."""
    wanted = f"size={written(_size(job, shape))}&format={shape.format}&quality={shape.quality}"
    return f"{base.rstrip('/')}/v1/images/{image.id}/content?{wanted}"


async def answer(house: House, job: Job, shape: Shape, *, url_base: str | None = None) -> PicturesOut:
    """The pictures of a job that has ended; where they lie, if there is a `url_base`, else their files.

    Raises: a Problem if there are none; StorageError.
    """
    if job.state is not State.SUCCEEDED:
        raise problem_of_job(job)
    if url_base is None:
        data = [PictureOut(b64_json=await _file(house, image, shape)) for image in job.images]
    else:
        data = [PictureOut(url=url_of(url_base, image, job, shape)) for image in job.images]
    return PicturesOut(
        created=int(job.created_at.timestamp()),
        data=data,
        output_format=shape.format,
        size=written(_size(job, shape)),
        warnings=list(job.warnings),
    )


async def events(
    house: House, job: Job, shown: Pass, shape: Shape, kind: str, partial_images: int
) -> AsyncIterator[bytes]:
    """The job as a stream: up to so many previews, spread evenly over its steps, then each of its pictures.

    `kind` is image_generation or image_edit.  An error is an event as well: the response has begun.
    """
    try:
        async for heard in _kept_alive(_told(house, job, shown, shape, kind, partial_images)):
            if heard is None:
                yield KEEPALIVE_COMMENT
            else:
                said = heard.model_dump_json(exclude_none=True)
                yield format_sse_event(data_str=said, event=heard.type)
    except Exception as error:
        problem = problem_of(error)
        if isinstance(problem, Internal):
            log.error("stream.failed", job_id=job.id, exc_info=error)
        yield format_sse_event(data_str=json.dumps(openai_error(Said.of(problem))), event="error")


async def _told(
    house: House, job: Job, shown: Pass, shape: Shape, kind: str, partial_images: int
) -> AsyncIterator[StreamedOut]:
    sent = 0

    def event(name: str, b64_json: str, index: int | None = None, usage: UsageOut | None = None) -> StreamedOut:
        return StreamedOut(
            type=f"{kind}.{name}",
            b64_json=b64_json,
            created_at=int(time.time()),
            output_format=shape.format,
            size=written(_size(job, shape)),
            partial_image_index=index,
            usage=usage,
        )

    sized = Shape(_size(job, shape), shape.format, shape.quality)
    async for heard in house.watch.follow(job, shown, BEGINNING):
        uri = _preview_due(heard, sent / partial_images) if sent < partial_images else None
        picture = None if uri is None else await run_in_threadpool(pictures.preview, uri, sized)
        if picture is not None:
            yield event("partial_image", pictures.base64_of(picture), sent)
            sent += 1
    done = await ended(house, job, shown)
    if done.state is not State.SUCCEEDED:
        raise problem_of_job(done)
    for image in done.images:
        yield event("completed", await _file(house, image, shape), usage=UsageOut())


def _preview_due(heard: ServerSentEvent, share: float) -> str | None:
    """The preview in an event, if the job has come so far; None if it has not, or the event has none."""
    if heard.event != "progress":
        return None
    # Anybody may write to Redis: an event may say anything.
    with suppress(KeyError, TypeError, ValueError):
        uri = heard.data["preview"]
        return uri if isinstance(uri, str) and heard.data["step"] >= share * heard.data["steps"] else None
    return None


async def _kept_alive(stream: AsyncIterator[StreamedOut]) -> AsyncIterator[StreamedOut | None]:
    """The stream, and None whenever it has been silent for a while."""
    coming = asyncio.ensure_future(anext(stream))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=_PING_S)
            if not done:
                yield None
                continue
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(anext(stream))
    finally:
        coming.cancel()


async def _file(house: House, image: Image, shape: Shape) -> str:
    return pictures.base64_of(await run_in_threadpool(pictures.finished, house, image, shape))


def _size(job: Job, shape: Shape) -> Size:
    return shape.size or made_size(params_of(job))
