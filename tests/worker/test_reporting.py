"""What watchers are told: enough, in order, and never at the cost of a step."""

import base64
import io
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from redis import Redis

from app.jobs import queue
from app.jobs.events import stream_key
from app.jobs.spec import TextToImageParams
from app.jobs.store import Claim, State
from tests.worker.fake_pipeline import FakePipeline
from worker.leases import Lease
from worker.reporting import MAX_PREVIEW_BYTES, Reporter, preview_uri

PIXELS = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def lease(make_params: Callable[..., TextToImageParams]) -> Lease:
    return Lease(Claim("a" * 32, 1, "local", make_params()), steps=100)


@pytest.fixture
def reporter(redis_connection: Redis) -> Iterator[Reporter]:
    reporter = Reporter(redis_connection)
    yield reporter
    reporter.stop(60)


def told(redis: Redis, lease: Lease) -> list[tuple[str, dict]]:
    entries = redis.xrange(stream_key(lease.claim.job_id))
    return [(fields[b"event"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


def test_of_progress_that_nobody_took_yet_only_the_latest_is_told(
    reporter: Reporter, lease: Lease, redis_connection: Redis
) -> None:
    for step in range(1, 51):
        lease.step = step
        reporter.progress(lease, 0, FakePipeline(), PIXELS)
    reporter.start()
    reporter.state(lease, State.SUCCEEDED)
    assert reporter.stop(60)
    (name, progress), done = told(redis_connection, lease)
    assert (name, progress["step"], progress["steps"], progress["index"]) == ("progress", 50, 100, 0)
    assert done == ("done", {"state": "succeeded"})


def test_the_last_step_is_told_however_soon_it_comes(reporter: Reporter, lease: Lease, redis_connection: Redis) -> None:
    reporter.start()
    for step in (1, 2, 3, 100):
        lease.step = step
        reporter.progress(lease, 0, FakePipeline(), None)
    assert reporter.stop(60)
    assert told(redis_connection, lease)[-1][1]["step"] == 100


def test_previews_are_made_on_the_reporters_thread_and_not_for_every_step(
    reporter: Reporter, lease: Lease, redis_connection: Redis
) -> None:
    made: list[None] = []

    class Watched(FakePipeline):
        def preview(self, x0: np.ndarray) -> np.ndarray:
            made.append(None)
            return x0

    lease.step = 100
    for _ in range(3):
        reporter.progress(lease, 0, Watched(), PIXELS)
    assert made == []
    reporter.start()
    assert reporter.stop(60)
    assert len(made) == 1


def test_there_are_at_most_five_previews_a_second(reporter: Reporter, lease: Lease, redis_connection: Redis) -> None:
    reporter.start()
    started = time.monotonic()
    while time.monotonic() < started + 0.7:
        lease.step += 1
        reporter.progress(lease, 0, FakePipeline(), PIXELS)
        time.sleep(0.002)
    assert reporter.stop(60)
    seconds = time.monotonic() - started
    previews = [data for _, data in told(redis_connection, lease) if data["preview"] is not None]
    assert 2 <= len(previews) <= 1 + 5 * seconds
    assert lease.step > 3 * len(previews)


def test_a_job_that_goes_back_to_the_queue_is_told_as_a_state(
    reporter: Reporter, lease: Lease, redis_connection: Redis
) -> None:
    reporter.start()
    for state in (State.RUNNING, State.QUEUED):
        reporter.state(lease, state)
    assert reporter.stop(60)
    assert told(redis_connection, lease) == [("state", {"state": "running"}), ("state", {"state": "queued"})]


def test_redis_away_is_nobodys_problem(away_redis_url: str, lease: Lease) -> None:
    reporter = Reporter(queue.connect(away_redis_url))
    reporter.start()
    reporter.progress(lease, 0, FakePipeline(), PIXELS)
    reporter.state(lease, State.SUCCEEDED)
    assert reporter.stop(60)


@pytest.mark.parametrize("side", [1, 8, 64, 512])
def test_a_preview_is_a_small_webp_even_of_noise(side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    uri = preview_uri(noise)
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    assert len(uri) <= MAX_PREVIEW_BYTES
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.format == "WEBP"
        assert picture.width == picture.height


def test_a_preview_that_fits_keeps_its_size() -> None:
    data = preview_uri(np.full((64, 96, 3), 128, np.uint8)).split(",")[1]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (96, 64)
