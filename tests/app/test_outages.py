"""What the front door stands on fails, or is in hostile hands: it says so, and goes on where it can."""

import pickle
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app import desk
from app.jobs.events import CANCELS, EVENTS, stream_key
from app.jobs.store import Job, Store
from tests.faults import engines_of, full_database

JOBS = "/api/v1/jobs"
WISH = {"task": "text_to_image", "steps": 4, "prompt": "a red cat " * 190}

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def full(app: FastAPI, client: TestClient, develop: Callable[[], Job], submit: Submit) -> Iterator[dict[str, Any]]:
    """A picture in a service whose database has no room for anything more."""
    submit()
    job = develop()
    picture = client.get(f"{JOBS}/{job.id}").json()["images"][0]
    with full_database(*engines_of(app.state.house.store)):
        while client.post(JOBS, json=WISH).status_code == 202:
            # Until the pages that the file has already are used up.
            pass
        yield picture


def test_while_the_disk_is_full_a_wish_is_refused_with_a_time_to_come_back(client: TestClient, full: object) -> None:
    before = len(client.get(JOBS, params={"limit": 100}).json()["items"])
    response = client.post(JOBS, json=WISH)
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["detail"] == "The database does not answer."
    # What was refused is not there.
    assert len(client.get(JOBS, params={"limit": 100}).json()["items"]) == before


def test_while_the_disk_is_full_everything_can_still_be_read(client: TestClient, full: dict[str, Any]) -> None:
    image = f"/api/v1/images/{full['id']}"
    for path in (
        JOBS,
        "/api/v1/images",
        image,
        f"{image}/content",
        f"{image}/thumbnail/256",
        "/",
        "/images",
        "/readyz",
    ):
        assert client.get(path).status_code == 200, path


def test_when_there_is_room_again_wishes_are_accepted_again(app: FastAPI, client: TestClient, submit: Submit) -> None:
    with full_database(*engines_of(app.state.house.store)):
        while client.post(JOBS, json=WISH).status_code == 202:
            pass
    submit()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_that_a_stranger_left_in_redis_happens_in_the_front_door(
    app: FastAPI, client: TestClient, store: Store, submit: Submit, redis_connection: Redis, tmp_path: Path
) -> None:
    trace = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(trace))
    hostile = {
        "data": zlib.compress(bomb),
        "meta": bomb,
        "result": bomb,
        "status": "queued",
        "success_callback_name": "os.abort",
        "webhooks": '[{"url": "http://127.0.0.1:1/", "statuses": ["finished"]}]',
    }
    redis_connection.hset("rq:job:hostile", mapping=hostile)
    redis_connection.rpush("rq:queue:darkroom", "hostile")
    job = submit()
    redis_connection.xadd(stream_key(str(job["id"])), {"event": "done", "data": bomb})
    for channel in (CANCELS, EVENTS):
        redis_connection.publish(channel, bomb)
        redis_connection.publish(channel, str(job["id"]))

    desk.sweep(app.state.house)
    assert client.get(f"{JOBS}/{job['id']}", params={"wait": 0.5, "until": "done"}).json()["state"] == "queued"
    assert client.post(f"{JOBS}/{job['id']}/cancel").json()["state"] == "cancelled"

    assert not trace.exists()
    # Neither was it taken for a ring: that is for workers to do.
    assert redis_connection.lrange("rq:queue:darkroom", 0, 0) == [b"hostile"]
    pickle.loads(bomb)
    assert trace.exists()
