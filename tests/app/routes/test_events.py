"""A job's event stream: how it is, what happens, how it ends; it can be resumed, and ends with the service."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app.jobs.catalogue import CatalogueEntry
from app.jobs.events import publish_done, publish_progress, publish_state
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.store import Claim, Job, Store
from app.main import create_app

JOBS = "/api/v1/jobs"
PREVIEW = "data:image/webp;base64,AAAA"

Params = Callable[..., TextToImageParams]


@dataclass(frozen=True)
class Said:
    """One event as it came over the wire."""

    event: str
    data: Any
    id: str | None


async def events_of(lines: AsyncIterator[str]) -> AsyncIterator[Said]:
    """The events in the lines of a stream."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Said(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


async def watch(url: str, job_id: str, then: Callable[[], object], **headers: str) -> list[Said]:
    """Open the stream, let `then` happen after its first event, and read it to its end."""
    said: list[Said] = []
    async with (
        httpx2.AsyncClient(base_url=url, timeout=30) as client,
        client.stream("GET", f"{JOBS}/{job_id}/events", headers=headers) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        async for event in events_of(response.aiter_lines()):
            said.append(event)
            if len(said) == 1:
                await asyncio.to_thread(then)
    return said


def test_a_stream_begins_with_the_row_and_ends_with_the_job(
    url: str, store: Store, make_params: Params, develop: Callable[[], Job], redis_connection: Redis
) -> None:
    job = store.submit(make_params(), "local")

    def is_developed() -> None:
        publish_state(redis_connection, job.id, "running")
        publish_progress(redis_connection, job.id, 1, 4, 0, PREVIEW)
        develop()
        publish_done(redis_connection, job.id, "succeeded")

    first, *others = asyncio.run(watch(url, job.id, is_developed))
    progress = {"step": 0, "steps": 4}
    assert (first.event, first.id) == ("state", None)
    assert first.data == {"state": "queued", "cancel_requested": False, "position": 0, "progress": progress}
    streamed = [event for event in others if event.id is not None]
    assert [event.event for event in streamed] == ["state", "progress", "done"]
    assert streamed[1].data == {"step": 1, "steps": 4, "index": 0, "preview": PREVIEW}
    assert streamed[2].data == {"state": "succeeded"}


def test_a_stream_goes_on_after_the_event_a_client_names(
    url: str, store: Store, make_params: Params, redis_connection: Redis
) -> None:
    job = store.submit(make_params(), "local")
    for step in (1, 2, 3):
        publish_progress(redis_connection, job.id, step, 4, 0, None)
    publish_done(redis_connection, job.id, "succeeded")

    def nothing() -> None:
        """All has happened already."""

    everything = [each for each in asyncio.run(watch(url, job.id, nothing, **{"last-event-id": "0-0"})) if each.id]
    assert [event.data.get("step") for event in everything] == [1, 2, 3, None]
    second = everything[1].id
    assert second is not None
    rest = [each for each in asyncio.run(watch(url, job.id, nothing, **{"last-event-id": second})) if each.id]
    assert rest == everything[2:]


def test_the_stream_of_an_ended_job_says_so_and_ends(
    client: TestClient, store: Store, make_params: Params, develop: Callable[[], Job]
) -> None:
    job = store.submit(make_params(), "local")
    develop()
    text = client.get(f"{JOBS}/{job.id}/events").text
    assert [line for line in text.splitlines() if line.startswith("event")] == ["event: state", "event: done"]
    assert '"succeeded"' in text


def test_a_stream_learns_from_the_row_while_redis_is_away(
    settings: Settings,
    store: Store,
    make_params: Params,
    develop: Callable[[], Job],
    away_redis_url: str,
    serve: Callable[[FastAPI], AbstractContextManager[str]],
) -> None:
    job = store.submit(make_params(), "local")
    deaf = create_app(settings.model_copy(update={"redis_url": away_redis_url}))
    with serve(deaf) as url:
        said = asyncio.run(watch(url, job.id, develop))
    assert [(event.event, event.data["state"]) for event in said] == [
        ("state", "queued"),
        ("state", "succeeded"),
        ("done", "succeeded"),
    ]


def test_an_open_stream_outlasts_a_database_that_is_away(
    url: str, store: Store, make_params: Params, develop: Callable[[], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.submit(make_params(), "local")
    get, refusals = Store.get, 2

    def is_away_for_a_while(store: Store, job_id: str, owner: str) -> Job:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StoreUnavailable("away")
        return get(store, job_id, owner)

    def goes_away() -> None:
        develop()
        monkeypatch.setattr(Store, "get", is_away_for_a_while)

    said = asyncio.run(watch(url, job.id, goes_away))
    assert refusals == 0
    assert [event.data["state"] for event in said] == ["queued", "succeeded", "succeeded"]


def test_a_waiting_client_sees_its_place_in_the_queue_change(
    url: str, store: Store, make_params: Params, claim: Callable[[], Claim], redis_connection: Redis
) -> None:
    store.submit(make_params(), "local")
    waiting = store.submit(make_params(), "local")

    async def positions() -> list[int | None]:
        seen: list[int | None] = []
        async with (
            httpx2.AsyncClient(base_url=url, timeout=30) as client,
            client.stream("GET", f"{JOBS}/{waiting.id}/events") as response,
        ):
            async for event in events_of(response.aiter_lines()):
                seen.append(event.data["position"])
                if len(seen) == 2:
                    return seen
                await asyncio.to_thread(claim)
        return seen

    assert asyncio.run(positions()) == [1, 0]


def test_a_stream_belongs_to_a_job(client: TestClient) -> None:
    response = client.get(f"{JOBS}/{'0' * 32}/events", headers={"accept": "text/html, text/event-stream"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_open_streams_hear_of_the_end_and_do_not_put_it_off(
    settings: Settings, store: Store, entry: CatalogueEntry, make_params: Params, tmp_path: Path
) -> None:
    job = store.submit(make_params(), "local")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "api", "--fd", str(listener.fileno())],
            env=os.environ
            | {"DARKROOM_DATA_DIR": str(settings.data_dir), "DARKROOM_REDIS_URL": str(settings.redis_url)},
            pass_fds=[listener.fileno()],
            cwd=Path(__file__).parents[3],
        )
    try:

        def stop() -> None:
            process.send_signal(signal.SIGTERM)

        said = asyncio.run(asyncio.wait_for(watch(f"http://127.0.0.1:{port}", job.id, stop), 60))
        stopped_at = time.monotonic()
        process.wait(timeout=20)
        assert [event.event for event in said] == ["state", "shutdown"]
        # The server gives open responses 5 seconds before it cuts them off.
        assert time.monotonic() - stopped_at < 4
    finally:
        process.kill()
        process.wait()
