"""What happens to a job, as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.deps import Inside, OwnJob, Shown
from app.errors import Invalid, NotFound, Unauthorized, Unavailable, documented
from app.schemas import API

router = APIRouter(prefix=f"{API}/jobs", tags=["jobs"], responses=documented(NotFound, Invalid, Unavailable))


@router.get("/{id}/events", operation_id="watchJob", response_class=EventSourceResponse)
async def watch(
    job: OwnJob,
    house: Inside,
    shown: Shown,
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="go on after this event; 0-0: from the beginning")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """How the job is now, then what happens to it until it has ended.

    `state {state, cancel_requested, position, progress}`; `progress {step, steps, index, preview: data URI}`;
    `done {state}`; `shutdown {}` when the service stops and the client may come back.  It ends without a word if the
    key is revoked meanwhile, or the session ends.
    """
    # It has begun: only who comes back can be told why it ends.
    with suppress(Unauthorized):
        async for event in house.watch.follow(job, shown, last_event_id):
            yield event
