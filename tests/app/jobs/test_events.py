"""Who watches a job hears everything once and in order, or learns soon that nothing can be heard."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from app.jobs.events import (
    BEGINNING,
    CANCELS,
    EVENTS,
    Event,
    EventReader,
    connect_async,
    publish_cancel,
    publish_done,
    publish_progress,
    publish_state,
    stream_key,
)
from app.jobs.queue import connect

JOB = "a" * 32


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[EventReader]:
    reader = EventReader(connect_async(url))
    await reader.start()
    try:
        yield reader
    finally:
        await reader.close()


def read(url: str, work: Callable[[EventReader], Awaitable[Any]]) -> Any:
    """Run `work` with a reader, in a loop of its own."""

    async def run() -> Any:
        async with reading(url) as reader:
            return await work(reader)

    return asyncio.run(run())


async def all_of(reader: EventReader, last_id: str | None = None) -> list[Event]:
    return [event async for event in reader.subscribe(JOB, last_id)]


def publish_a_life(connection: Redis) -> None:
    publish_state(connection, JOB, "running")
    publish_progress(connection, JOB, 1, 2, 0, "data:image/webp;base64,AAAA")
    publish_progress(connection, JOB, 2, 2, 0, None)
    publish_done(connection, JOB, "succeeded")


def test_a_watcher_hears_everything_in_order_until_the_end(redis_url: str, redis_connection: Redis) -> None:
    publish_a_life(redis_connection)

    events = read(redis_url, all_of)

    assert [(event.event, event.data) for event in events] == [
        ("state", {"state": "running"}),
        ("progress", {"step": 1, "steps": 2, "index": 0, "preview": "data:image/webp;base64,AAAA"}),
        ("progress", {"step": 2, "steps": 2, "index": 0, "preview": None}),
        ("done", {"state": "succeeded"}),
    ]


def test_a_watcher_that_comes_back_hears_only_what_it_missed(redis_url: str, redis_connection: Redis) -> None:
    publish_a_life(redis_connection)
    first, second, *rest = read(redis_url, all_of)

    assert read(redis_url, lambda reader: all_of(reader, second.id)) == rest
    assert read(redis_url, lambda reader: all_of(reader, first.id)) == [second, *rest]


def test_an_event_is_heard_when_it_happens_and_not_when_one_looks_again(
    redis_url: str, redis_connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.events.reader._LOOK_AGAIN_S", 3600)

    async def work(reader: EventReader) -> list[Event]:
        while await asyncio.to_thread(redis_connection.pubsub_numsub, EVENTS) != [(EVENTS.encode(), 1)]:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(reader.wait(JOB, BEGINNING, 3600))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(publish_state, redis_connection, JOB, "running")
        return await asyncio.wait_for(waiting, 30)

    assert [event.data for event in read(redis_url, work)] == [{"state": "running"}]


def test_a_watcher_whose_bell_is_broken_looks_again_by_itself(
    redis_url: str, redis_connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.events.reader._LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr("app.jobs.events.publishing.EVENTS", "nobody-listens")

    async def work(reader: EventReader) -> list[Event]:
        waiting = asyncio.create_task(reader.wait(JOB, BEGINNING, 10))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(publish_state, redis_connection, JOB, "running")
        return await waiting

    assert len(read(redis_url, work)) == 1


def test_a_quiet_job_is_waited_for_no_longer_than_asked(redis_url: str) -> None:
    async def work(reader: EventReader) -> tuple[list[Event], float]:
        began = time.monotonic()
        return await reader.wait(JOB, BEGINNING, 0.2), time.monotonic() - began

    events, took_s = read(redis_url, work)

    assert events == []
    assert took_s >= 0.2


def test_many_watchers_of_many_jobs_hear_each_their_own(redis_url: str, redis_connection: Redis) -> None:
    jobs = [f"{number:032x}" for number in range(20)]

    async def one(reader: EventReader, job_id: str) -> list[Any]:
        return [event.data["state"] async for event in reader.subscribe(job_id)]

    async def work(reader: EventReader) -> list[list[Any]]:
        watching = [asyncio.create_task(one(reader, job_id)) for job_id in jobs for _ in range(5)]
        await asyncio.sleep(0.1)
        for job_id in jobs:
            await asyncio.to_thread(publish_state, redis_connection, job_id, job_id)
            await asyncio.to_thread(publish_done, redis_connection, job_id, "succeeded")
        return await asyncio.gather(*watching)

    heard = read(redis_url, work)

    assert heard == [[job_id, "succeeded"] for job_id in jobs for _ in range(5)]


def test_from_the_latest_on_only_news_is_heard(redis_url: str, redis_connection: Redis) -> None:
    publish_state(redis_connection, JOB, "running")

    async def work(reader: EventReader) -> tuple[str, list[Event], list[Event]]:
        none_yet = await reader.latest("b" * 32)
        latest = await reader.latest(JOB)
        quiet = await reader.wait(JOB, latest, 0.05)
        await asyncio.to_thread(publish_done, redis_connection, JOB, "failed")
        return none_yet, quiet, await reader.wait(JOB, latest, 5)

    none_yet, quiet, news = read(redis_url, work)

    assert none_yet == BEGINNING
    assert quiet == []
    assert [event.event for event in news] == ["done"]


@pytest.mark.parametrize(
    "last_id", ["", "abc", "$", "1", "-1-0", "1-0-0", f"{2**64}-0", f"0-{2**64}", "9" * 5000, "1-0\r\nDEL x"]
)
def test_a_strange_last_id_means_from_the_beginning(redis_url: str, redis_connection: Redis, last_id: str) -> None:
    publish_a_life(redis_connection)

    assert len(read(redis_url, lambda reader: all_of(reader, last_id))) == 4


def test_what_strangers_write_into_a_stream_is_passed_over(redis_url: str, redis_connection: Redis) -> None:
    for fields in (
        {"event": "state"},
        {"event": "state", "data": "{"},
        {"event": b"\xff", "data": "{}"},
        {"event": "shutdown", "data": "{}"},
        {"event": "state", "data": "[1]"},
        {"x": "y"},
    ):
        redis_connection.xadd(stream_key(JOB), fields)  # type: ignore[arg-type]
    publish_done(redis_connection, JOB, "failed")

    assert [event.event for event in read(redis_url, all_of)] == ["done"]


def test_a_stream_is_bounded_and_forgotten_in_time(redis_connection: Redis) -> None:
    for step in range(800):
        publish_progress(redis_connection, JOB, step, 800, 0, None)

    assert 512 <= redis_connection.xlen(stream_key(JOB)) < 700
    assert 3500 < redis_connection.ttl(stream_key(JOB)) <= 3600


def test_a_long_stream_is_heard_wholly(redis_url: str, redis_connection: Redis) -> None:
    for step in range(70):
        publish_progress(redis_connection, JOB, step, 70, 0, None)
    publish_done(redis_connection, JOB, "succeeded")

    events = read(redis_url, all_of)

    assert [event.data.get("step") for event in events] == [*range(70), None]


def test_a_cancel_is_called_out_to_the_workers(redis_connection: Redis) -> None:
    with redis_connection.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(CANCELS)
        channel.get_message(timeout=5)
        assert publish_cancel(redis_connection, JOB)
        message = channel.get_message(timeout=5)

    assert message is not None
    assert message["data"] == JOB.encode()


def test_publishing_while_redis_is_away_is_no_error(away_redis_url: str) -> None:
    connection = connect(away_redis_url)

    assert not publish_state(connection, JOB, "running")
    assert not publish_progress(connection, JOB, 1, 2, 0, None)
    assert not publish_done(connection, JOB, "failed")
    assert not publish_cancel(connection, JOB)


def test_publishing_to_a_stream_that_is_none_is_no_error(redis_connection: Redis) -> None:
    redis_connection.set(stream_key(JOB), "not a stream")

    assert not publish_state(redis_connection, JOB, "running")


def test_watching_while_redis_is_away_returns_soon_so_that_one_can_look_elsewhere(
    away_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.events.reader._LOOK_AGAIN_S", 0.2)

    async def work(reader: EventReader) -> tuple[list[Event], str, float]:
        began = time.monotonic()
        events = await reader.wait(JOB, BEGINNING, 30)
        return events, await reader.latest(JOB), time.monotonic() - began

    events, latest, took_s = read(away_redis_url, work)

    assert (events, latest) == ([], BEGINNING)
    # Neither at once, which would keep the caller spinning, nor only at the end.
    assert 0.2 <= took_s < 20


def test_a_watcher_goes_on_when_redis_comes_back(own_valkey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.events.reader._RECONNECT_S", 0.05)
    connection = connect(own_valkey.url)

    async def work(reader: EventReader) -> list[str]:
        watching = asyncio.create_task(all_of(reader))
        await asyncio.to_thread(publish_state, connection, JOB, "running")
        await asyncio.sleep(0.2)
        own_valkey.kill()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_valkey.start)
        await asyncio.to_thread(publish_done, connection, JOB, "succeeded")
        return [event.event for event in await asyncio.wait_for(watching, 60)]

    assert read(own_valkey.url, work) == ["state", "done"]
    connection.close()


def test_closing_the_reader_ends_every_watch_at_once(redis_url: str) -> None:
    async def run() -> float:
        async with reading(redis_url) as reader:
            watching = [asyncio.create_task(all_of(reader)) for _ in range(3)]
            await asyncio.sleep(0.1)
            began = time.monotonic()
        await asyncio.gather(*watching)
        return time.monotonic() - began

    # A quiet wait would have lasted fifteen seconds.
    assert asyncio.run(run()) < 12


def test_the_reader_can_be_closed_at_any_moment_of_its_beginning(redis_url: str) -> None:
    async def begin_and_close(turns: int) -> None:
        async with reading(redis_url):
            for _ in range(turns):
                await asyncio.sleep(0)

    for turns in range(12):
        asyncio.run(asyncio.wait_for(begin_and_close(turns), 30))
