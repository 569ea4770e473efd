"""Waiting for a job to change, without holding a thread or a database connection.

Whoever waits looks at the row first, then listens to the job's event stream through the one reader of this
process, and looks at the row again whenever the stream speaks of a new state, and every so often anyway: the
stream is a hint, and Redis may be away.  Of those who look because they heard nothing, all who wait for one job share
a look.  As often it is looked at whether whoever waits still may: keys are revoked, and people sign out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from app.jobs.events import Event, EventReader
from app.jobs.failures import StoreUnavailable
from app.jobs.store import Job, State, Store

# How far a page may lag behind while Redis is away, and how often it learns its place in the queue.
LOOK_S = 2.0

# How old a look may be at what one who waits came in with; where all is silent, LOOK_S more go by until the next.
GUARD_S = 1.0

# How old a look may be that is shared, and how many are kept.
RECENT_S = 1.0
_MANY = 1000

Seen = TypeVar("Seen")


class Pass(Hashable, Protocol):
    """What somebody came in with; those who wait with equal ones share a look."""

    def check(self) -> None:
        """Return if it still lets them in.  Raises: Unauthorized; StoreUnavailable."""


class Watch:
    """Waits for jobs on behalf of any number of clients."""

    def __init__(self, store: Store, reader: EventReader) -> None:
        """Look into `store`, listen to `reader`."""
        self._store = store
        self._reader = reader
        self._is_closing = False
        self._looks: dict[tuple[str, str], tuple[float, Any]] = {}
        self._passes: dict[Pass, float] = {}

    @property
    def is_closing(self) -> bool:
        """Whether the service stops, and nobody should wait any more."""
        return self._is_closing

    async def close(self) -> None:
        """End every wait now: long-polls answer with what they know, event streams say `shutdown`."""
        if not self._is_closing:
            self._is_closing = True
            await self._reader.close()

    async def change(self, job: Job, shown: Pass, *, until_done: bool, wait_s: float) -> Job:
        """The job as soon as it has ended, or (unless `until_done`) has another state than `job` has.

        After `wait_s` seconds, or when the service stops, the job as it is then.
        Raises: Unauthorized once what was `shown` lets nobody in; StoreUnavailable.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        guard = _Guard(self, shown)
        # First the place in the stream, then the row: what happens in between is heard, not missed.
        heard = await self._reader.latest(job.id)
        seen = await self._read(job, is_news=True)
        while not seen.state.is_terminal and (until_done or seen.state == job.state):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0 or self._is_closing:
                break
            events = await self._reader.wait(job.id, heard, min(left_s, LOOK_S))
            heard = events[-1].id if events else heard
            await guard.check()
            if _calls_for_a_look(events):
                seen = await self._read(job, is_news=bool(events))
        return seen

    async def preview(self, job: Job) -> str | None:
        """How the job looked a moment ago, as a data: URI; None if nobody knows."""
        told = (event.data.get("preview") for event in await self._reader.recent(job.id) if event.event == "progress")
        return next((uri for uri in told if isinstance(uri, str)), None)

    async def follow(self, job: Job, shown: Pass, last_id: str | None) -> AsyncIterator[ServerSentEvent]:
        """How the job's row is, then what happens after `last_id` (None: after now), until the job has ended.

        Only entries of the stream carry an id, so a client that comes back names the last of those.
        Raises: Unauthorized once what was `shown` lets nobody in.
        """
        guard = _Guard(self, shown)
        heard = await self._reader.latest(job.id) if last_id is None else last_id
        facts: Mapping[str, Any] | None = None
        said = facts
        events: list[Event] = []
        is_news = True
        while True:
            if _calls_for_a_look(events):
                # An open stream outlasts a database that is away for a while.
                with suppress(StoreUnavailable):
                    job = await self._read(job, is_news=is_news)
                    facts = await self._look("facts", job, is_news, partial(self._facts, job))
                if facts != said:
                    yield ServerSentEvent(event="state", data=facts)
                    said = facts
            # Of a job that has ended, only what a returning client missed is left to say.
            events = await self._reader.wait(job.id, heard, 0 if job.state.is_terminal else LOOK_S)
            is_news = bool(events)
            with suppress(StoreUnavailable):
                await guard.check()
            for event in events:
                heard = event.id
                yield ServerSentEvent(event=event.event, data=event.data, id=event.id)
                if event.event == "done":
                    return
            if job.state.is_terminal and not events:
                yield ServerSentEvent(event="done", data={"state": job.state})
                return
            if self._is_closing:
                yield ServerSentEvent(event="shutdown", data={})
                return

    async def _read(self, job: Job, *, is_news: bool) -> Job:
        """The row; unless there is news of it, as somebody saw it a moment ago."""
        return await self._look("row", job, is_news, lambda: self._store.get(job.id, job.owner))

    async def look_at(self, shown: Pass) -> None:
        """Return if it still lets somebody in, or one of those who wait with it looks just now, or did a moment ago.

        Raises: Unauthorized; StoreUnavailable.
        """
        now = asyncio.get_running_loop().time()
        if now - self._passes.get(shown, -GUARD_S) < GUARD_S:
            return
        self._passes = {one: at for one, at in self._passes.items() if now - at < GUARD_S} | {shown: now}
        try:
            await run_in_threadpool(shown.check)
        except BaseException:
            # Everybody else finds that out too.
            self._passes.pop(shown, None)
            raise

    async def _look(self, what: str, job: Job, is_news: bool, look: Callable[[], Seen]) -> Seen:
        began = asyncio.get_running_loop().time()
        last, seen = self._looks.get((what, job.id), (-RECENT_S, None))
        if not is_news and began - last < RECENT_S:
            return cast(Seen, seen)
        seen = await run_in_threadpool(look)
        # Of two looks at once, the one that began later knows more.
        if began >= self._looks.get((what, job.id), (began, None))[0]:
            self._looks[what, job.id] = began, seen
        if len(self._looks) > _MANY:
            self._looks = {key: kept for key, kept in self._looks.items() if began - kept[0] < RECENT_S}
        return cast(Seen, seen)

    def _facts(self, job: Job) -> Mapping[str, Any]:
        position = self._store.quotes.position(job) if job.state is State.QUEUED else None
        return {
            "state": job.state,
            "cancel_requested": job.cancel_requested,
            "position": position,
            "progress": {"step": job.progress.step, "steps": job.progress.steps},
        }


class _Guard:
    """Looks every so often at what one who waits came in with, however much the stream has to say."""

    def __init__(self, watch: Watch, shown: Pass) -> None:
        self._watch = watch
        self._shown = shown
        self._looked_at = asyncio.get_running_loop().time()

    async def check(self) -> None:
        """Return if it is not due, or whoever waits still may.  Raises: Unauthorized; StoreUnavailable."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= GUARD_S:
            self._looked_at = now
            await self._watch.look_at(self._shown)


def _calls_for_a_look(events: list[Event]) -> bool:
    """Whether the row may say something new: the stream was silent, or spoke of more than progress."""
    return not events or any(event.event != "progress" for event in events)
