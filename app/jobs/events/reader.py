"""Watching: what the pages and long-polls of one process wait on."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import structlog
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.jobs.events.publishing import EVENTS, stream_key

BEGINNING = "0-0"
"""The id before every event."""

_AT_ONCE = 64
_LOOK_AGAIN_S = 2.0
_RECONNECT_S = 1.0
_WAIT_S = 15.0

_EVENT_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_EVENT_NAMES = frozenset({"state", "progress", "done"})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a job's stream: `state`, `progress` or `done`, and what it says."""

    id: str
    event: str
    data: Mapping[str, Any]


def connect_async(url: str, *, timeout_s: float = 1.0) -> AsyncRedis:
    """A small pool of connections; whoever finds it empty waits a moment.  Nothing is connected yet."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=16,
        timeout=5,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
    )
    return AsyncRedis.from_pool(pool)


class EventReader:
    """Watches any number of jobs with one listening connection and no thread.  One per process."""

    def __init__(self, connection: AsyncRedis) -> None:
        """Read through `connection`'s pool.  Nothing is connected until `start`."""
        self._redis = connection
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to listen, in a task of the running loop.  Redis may be away."""
        self._listener = asyncio.create_task(self._listen(), name="events.listen")

    async def close(self) -> None:
        """Stop listening, make every `wait` return at once, and close the connections."""
        self._closed = True
        for bells in self._bells.values():
            for bell in bells:
                bell.set()
        while self._listener is not None and not self._listener.done():
            # Again and again: redis-py 8.1 loses a cancellation that meets it while it connects.
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=0.1)
        await self._redis.aclose()

    async def latest(self, job_id: str) -> str:
        """The id of the job's newest event, to wait for what comes after it; BEGINNING if there is none."""
        try:
            newest = await self._redis.xrevrange(stream_key(job_id), count=1)
        except (RedisError, OSError):
            return BEGINNING
        return _entries(newest)[0][0].decode() if newest else BEGINNING

    async def recent(self, job_id: str) -> list[Event]:
        """The job's newest events, the newest first; none while Redis is away."""
        try:
            newest = await self._redis.xrevrange(stream_key(job_id), count=_AT_ONCE)
        except (RedisError, OSError):
            return []
        return [event for entry in _entries(newest) if (event := _event(*entry)) is not None]

    async def wait(self, job_id: str, last_id: str, timeout_s: float) -> list[Event]:
        """The job's events after `last_id`, as soon as there is one, at most 64 at a time.

        Empty after `timeout_s`, when the reader is closed, and after at most two seconds while Redis is away:
        then the caller looks at the store.  A `last_id` that is no event's id is read as BEGINNING.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        last_id = _checked(last_id)
        bell = asyncio.Event()
        self._bells[job_id].add(bell)
        try:
            while not self._closed:
                bell.clear()
                left_s = max(0.0, deadline - asyncio.get_running_loop().time())
                try:
                    last_id, events = await self._read(job_id, last_id)
                except (RedisError, OSError):
                    await _ring_or_timeout(bell, min(left_s, _LOOK_AGAIN_S))
                    return []
                if events or left_s == 0:
                    return events
                await _ring_or_timeout(bell, min(left_s, _LOOK_AGAIN_S))
            return []
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]

    async def subscribe(self, job_id: str, last_id: str | None = None) -> AsyncIterator[Event]:
        """The job's events after `last_id` (None: all of them), until `done` or the reader is closed."""
        last_id = BEGINNING if last_id is None else last_id
        while not self._closed:
            for event in await self.wait(job_id, last_id, _WAIT_S):
                last_id = event.id
                yield event
                if event.event == "done":
                    return

    async def _read(self, job_id: str, last_id: str) -> tuple[str, list[Event]]:
        """What the stream holds after `last_id`, and the id up to which it was read."""
        entries = _entries(await self._redis.xrange(stream_key(job_id), min=f"({last_id}", count=_AT_ONCE))
        events = [event for entry in entries if (event := _event(*entry)) is not None]
        return (entries[-1][0].decode() if entries else last_id), events

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(EVENTS)
                    async for message in channel.listen():
                        self._ring(message["data"])
            except (RedisError, OSError) as error:
                log.debug("events.deaf", error=str(error))
            await asyncio.sleep(_RECONNECT_S)

    def _ring(self, job_id: bytes) -> None:
        for bell in self._bells.get(job_id.decode(errors="replace"), ()):
            bell.set()


async def _ring_or_timeout(bell: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(bell.wait(), timeout_s)


def _checked(last_id: str) -> str:
    # It may come from a header of a request, and Redis knows only pairs of 64 bits.
    match = _EVENT_ID.fullmatch(last_id)
    return last_id if match and all(int(part) < 2**64 for part in match.groups()) else BEGINNING


def _entries(answer: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    # The client's types allow for options that `connect_async` does not set.
    return cast(list[tuple[bytes, dict[bytes, bytes]]], answer)


def _event(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event | None:
    """An entry as an event; None if it is not one of ours, for anybody may write to Redis."""
    try:
        name, data = fields[b"event"].decode(), json.loads(fields[b"data"])
    except (KeyError, ValueError):
        return None
    if name not in _EVENT_NAMES or not isinstance(data, dict):
        return None
    return Event(entry_id.decode(), name, data)
