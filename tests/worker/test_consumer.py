"""A worker from the ring to the published image, and all that may come between."""

import hashlib
import io
import json
import pickle
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image
from redis import Redis
from rq import Callback, Queue, Webhook

from app.jobs import queue, recipe
from app.jobs.catalogue import CatalogueEntry
from app.jobs.events import CANCELS, publish_cancel
from app.jobs.failures import ErrorCode, StorageFull
from app.jobs.recipe import Recipe
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import Claim, Failed, State
from app.jobs.tables import jobs
from tests.conftest import Valkey
from tests.worker.conftest import OWNER, Running, Service, wait_until

StartWorker = Callable[..., Running]


class FullStorage:
    """The real storage on a disk that is full for the first `refusals` files."""

    def __init__(self, storage: Storage, refusals: int) -> None:
        self.real = storage
        self.refusals = refusals

    def put(self, key: str, data: bytes) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StorageFull(f"the storage failed at {key!r}: No space left on device")
        self.real.put(key, data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


def execute(service: Service, statement: sa.Update) -> None:
    """Change a row behind everybody's back."""
    engine = sa.create_engine(service.settings.resolved_database_url)
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def steal(service: Service, job_id: str) -> Claim:
    """Let the job's lease run out and another worker claim it."""
    execute(service, sa.update(jobs).where(jobs.c.id == job_id).values(lease_until=0.0))
    assert service.store.sweep().requeued == (job_id,)
    claim = service.store.claim_next("a thief", ["storybook"])
    assert claim is not None
    assert claim.job_id == job_id
    return claim


# From the ring to the image


def test_a_job_becomes_a_published_image_with_its_recipe_in_it(service: Service, start_worker: StartWorker) -> None:
    start_worker()
    job = service.wait_for(service.submit(prompt="a red cat", seed=5, width=64))
    assert job.state is State.SUCCEEDED
    (image,) = job.images
    data = service.storage.get(image.key)
    assert (image.sha256, image.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (image.width, image.height, image.seed) == (64, 128, 5)
    assert recipe.read(data) == Recipe.of(job.params, 0, "r1")
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 128))
    with Image.open(io.BytesIO(service.storage.get(image.thumbnail_key))) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (64, 128))
    assert (image.model_revision, image.fingerprint) == ("r1", "cpu-test")


def test_every_image_of_a_job_has_its_own_seed_and_is_the_picture_of_that_seed(
    service: Service, start_worker: StartWorker
) -> None:
    start_worker()
    together = service.wait_for(service.submit(seed=2**32 - 1, num_images=3))
    assert [(image.index, image.seed) for image in together.images] == [(0, 2**32 - 1), (1, 0), (2, 1)]
    alone = service.wait_for(service.submit(seed=0))
    # Metadata is the recipe and nothing else, so equal pixels are equal files.
    assert alone.images[0].sha256 == together.images[1].sha256


def test_a_finished_job_says_where_its_time_went(service: Service, start_worker: StartWorker) -> None:
    start_worker(step_s=0.05)
    timings = service.wait_for(service.submit(steps=4)).timings
    assert timings is not None
    assert 0.2 <= timings.denoise_s < 5
    assert 0 < timings.text_s < 0.2
    assert 0 < timings.decode_s < 1
    assert 0 < timings.encode_s < 5


def test_a_ring_is_heard_at_once(service: Service, start_worker: StartWorker, quick: Settings) -> None:
    start_worker(settings=quick.model_copy(update={"sweep_s": 60.0}))
    service.wait_for(service.submit())
    # Nothing but the ring can have started these: the next look at the store is a minute away.
    started = time.monotonic()
    for _ in range(3):
        service.wait_for(service.submit())
    assert time.monotonic() - started < 15


def test_a_job_whose_ring_was_lost_is_found_all_the_same(service: Service, start_worker: StartWorker) -> None:
    start_worker()
    service.wait_for(service.submit())
    assert service.wait_for(service.submit(ring=False)).state is State.SUCCEEDED


def test_a_hundred_rings_without_a_job_change_nothing(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker()
    for _ in range(100):
        queue.ring(service.redis)
    job_id = service.submit()
    service.wait_for(job_id)
    wait_until(lambda: nothing_is_left_in_rq(service.redis), "rings that are all heard")
    assert worker.pipeline.stepped == [[(0, step)] for step in (1, 2, 3, 4)]


def nothing_is_left_in_rq(redis: Redis) -> bool:
    return not redis.exists("rq:queue:darkroom") and not redis.keys("rq:job:*")


def test_jobs_are_developed_in_the_order_in_which_they_came(service: Service, start_worker: StartWorker) -> None:
    ids = [service.submit() for _ in range(4)]
    start_worker()
    ended = [service.wait_for(job_id) for job_id in ids]
    assert [job.finished_at for job in ended] == sorted(job.finished_at for job in ended)


def test_the_threads_that_step_and_encode_texts_write_no_file(
    service: Service, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: set[str] = set()
    put = service.storage.put

    def watched(key: str, data: bytes) -> None:
        writers.add(threading.current_thread().name)
        put(key, data)

    monkeypatch.setattr(service.storage, "put", watched)
    worker = start_worker()
    service.wait_for(service.submit(num_images=2))
    assert worker.pipeline.threads == {"encoder", "engine"}
    assert writers == {"publisher"}


# What watchers see


def test_watchers_hear_of_every_change_in_order_with_small_previews(
    service: Service, start_worker: StartWorker
) -> None:
    start_worker(step_s=0.1)
    job_id = service.submit(steps=10, num_images=2, width=256, height=256)
    service.wait_for(job_id)
    wait_until(lambda: events_of(service, job_id)[-1][0] == "done", "the last event")
    events = events_of(service, job_id)
    assert events[0] == ("state", {"state": "running"})
    assert events[-1] == ("done", {"state": "succeeded"})
    progress = [data for name, data in events[1:-1] if name == "progress"]
    assert [data["step"] for data in progress] == sorted({data["step"] for data in progress})
    assert (progress[-1]["step"], progress[-1]["steps"], progress[-1]["index"]) == (20, 20, 1)
    previews = [data["preview"] for data in progress if data["preview"] is not None]
    assert all(preview.startswith("data:image/webp;base64,") and len(preview) <= 10_000 for preview in previews)
    # Two seconds of steps, at most five previews in each, and the one at the start.
    assert 3 <= len(previews) <= 15


def events_of(service: Service, job_id: str) -> list[tuple[str, dict]]:
    entries = service.redis.xrange(f"darkroom:job:{job_id}")
    return [(fields[b"event"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


def test_the_row_shows_progress_while_the_job_runs(service: Service, start_worker: StartWorker) -> None:
    start_worker(step_s=0.1)
    job_id = service.submit(steps=20, num_images=2)
    wait_until(lambda: 0 < service.job(job_id).progress.step < 40, "progress in the row")
    assert service.job(job_id).progress.steps == 40


def test_a_worker_is_in_the_catalogue_with_what_it_serves(
    service: Service, start_worker: StartWorker, entry: CatalogueEntry
) -> None:
    start_worker()
    wait_until(lambda: any(worker.facts for worker in service.store.workers_alive()), "a worker's beat")
    (worker,) = service.store.workers_alive()
    assert worker.models == ("storybook",)
    assert worker.facts["device"] == "fake"
    assert 0 < worker.facts["memory_bytes"] < worker.facts["memory_total_bytes"]
    assert service.store.catalogue() == [entry]


# Cancel


def test_a_cancel_frees_the_device_within_a_step_and_publishes_nothing(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    worker = start_worker(step_s=0.2, settings=quick.model_copy(update={"lease_s": 60.0, "beat_s": 30.0}))
    job_id = service.submit(steps=1000)
    wait_until(lambda: len(worker.pipeline.stepped) >= 2, "two steps")
    service.store.cancel(job_id, OWNER)
    publish_cancel(service.redis, job_id)
    steps_at_cancel = len(worker.pipeline.stepped)
    job = service.wait_for(job_id)
    # The next beat is half a minute away: it was the message that did it.
    assert (job.state, job.images) == (State.CANCELLED, ())
    assert len(worker.pipeline.stepped) - steps_at_cancel <= 10
    assert service.wait_for(service.submit(steps=1)).state is State.SUCCEEDED


def test_a_cancel_that_nobody_heard_is_read_from_the_row(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.05)
    job_id = service.submit(steps=1000)
    wait_until(lambda: len(worker.pipeline.stepped) >= 1, "a step")
    service.store.cancel(job_id, OWNER)
    assert service.wait_for(job_id).state is State.CANCELLED


def test_a_cancel_that_comes_while_the_last_step_runs_still_wins(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker()
    job_id = service.submit(prompt="wait", steps=1)
    service.wait_for(job_id, State.RUNNING)
    service.store.cancel(job_id, OWNER)
    worker.pipeline.gate.set()
    job = service.wait_for(job_id)
    assert (job.state, job.images) == (State.CANCELLED, ())


def test_a_message_that_says_cancelled_cancels_nothing_by_itself(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.02)
    job_id = service.submit(steps=50)
    wait_until(lambda: len(worker.pipeline.stepped) >= 1, "a step")
    publish_cancel(service.redis, job_id)
    service.redis.publish(CANCELS, b"\xff\x00 nonsense")
    assert service.wait_for(job_id).state is State.SUCCEEDED


# Losing the lease


def test_a_worker_that_lost_its_lease_drops_the_job_and_publishes_nothing(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker(step_s=0.05)
    job_id = service.submit(steps=1000, num_images=2)
    wait_until(lambda: len(worker.pipeline.stepped) >= 2, "two steps")
    theft = steal(service, job_id)
    # It goes on to the next job, though this one had minutes to go.
    assert service.wait_for(service.submit(steps=1)).state is State.SUCCEEDED
    job = service.job(job_id)
    assert (job.state, job.attempt, job.images) == (State.RUNNING, 2, ())
    assert service.store.finish(theft, Failed("internal", "the thief gives up"))


def test_a_worker_that_does_not_know_it_lost_its_lease_publishes_nothing_either(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    worker = start_worker(settings=quick.model_copy(update={"lease_s": 60.0, "beat_s": 30.0}))
    job_id = service.submit(prompt="wait")
    service.wait_for(job_id, State.RUNNING)
    steal(service, job_id)
    worker.pipeline.gate.set()
    assert service.wait_for(service.submit()).state is State.SUCCEEDED
    job = service.job(job_id)
    assert (job.state, job.attempt, job.images) == (State.RUNNING, 2, ())


# What the pipeline may do


@pytest.mark.parametrize(("prompt", "code"), [("nan", ErrorCode.NON_FINITE), ("bug", ErrorCode.INTERNAL)])
def test_a_pipeline_that_fails_fails_its_job_and_no_other(
    service: Service, start_worker: StartWorker, prompt: str, code: ErrorCode
) -> None:
    start_worker()
    job_id, neighbour = service.submit(prompt=prompt), service.submit()
    job = service.wait_for(job_id)
    assert job.error is not None
    assert (job.state, job.error.code, job.attempt) == (State.FAILED, code, 1)
    assert "fake pipeline" not in job.error.message
    assert service.wait_for(neighbour).state is State.SUCCEEDED


def test_a_device_without_memory_gives_the_job_back_until_it_is_hopeless(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    start_worker(settings=quick.model_copy(update={"max_infra_failures": 2}))
    job = service.wait_for(service.submit(prompt="oom"))
    assert job.error is not None
    assert (job.state, job.error.code) == (State.FAILED, ErrorCode.OUT_OF_MEMORY)
    assert (job.attempt, job.infra_failures, job.losses) == (3, 3, 0)


def test_a_full_disk_gives_the_job_back_and_no_half_of_it_is_published(
    service: Service, start_worker: StartWorker
) -> None:
    storage = FullStorage(service.storage, refusals=2)
    start_worker(storage=storage)
    job = service.wait_for(service.submit(num_images=2))
    assert (job.state, job.attempt, job.infra_failures) == (State.SUCCEEDED, 3, 2)
    assert [image.index for image in job.images] == [0, 1]
    assert all(service.storage.get(image.key) for image in job.images)


# Redis


def test_an_rq_job_of_somebody_else_is_thrown_away_and_nothing_in_it_happens(
    service: Service, start_worker: StartWorker, tmp_path: Path
) -> None:
    traces = [tmp_path / name for name in ("function", "success", "failure", "pickle")]
    hostile = Queue("darkroom", connection=service.redis, serializer="json")
    hostile.enqueue_call(
        "pathlib.Path.touch",
        args=(str(traces[0]),),
        on_success=Callback("tests.worker.test_consumer.touch_success"),
        on_failure=Callback("tests.worker.test_consumer.touch_failure"),
        webhooks=[Webhook("http://127.0.0.1:9/", "finished")],
    )
    hostile.enqueue_call(subprocess.run, args=(["touch", str(traces[0])],))
    poisoned = hostile.enqueue_call("os.getpid")
    bomb = pickle.dumps(Bomb(traces[3]))
    service.redis.hset(poisoned.key, mapping={"data": bomb, "result": bomb, "meta": bomb, "timeout": "never"})
    service.redis.rpush("rq:queue:darkroom", b"\xff\x00", "no such job", "../../etc/passwd")
    worker = start_worker()
    assert service.wait_for(service.submit()).state is State.SUCCEEDED
    wait_until(lambda: nothing_is_left_in_rq(service.redis), "an RQ queue that is consumed")
    assert [trace.name for trace in traces if trace.exists()] == []
    worker.stop()
    assert worker.has_ended_well


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.trace,)


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def test_a_message_that_makes_no_sense_does_not_make_the_worker_deaf(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    worker = start_worker(step_s=0.05, settings=quick.model_copy(update={"lease_s": 60.0, "beat_s": 30.0}))
    service.wait_for(service.submit(steps=1))
    for nonsense in (b"\xff", b"{}", b"[]", b'{"command": "stop-job"}', b'{"command": {}}'):
        assert service.redis.publish(f"rq:pubsub:{worker.consumer.name}", nonsense) == 1
    job_id = service.submit(steps=1000)
    service.wait_for(job_id, State.RUNNING)
    service.store.cancel(job_id, OWNER)
    publish_cancel(service.redis, job_id)
    assert service.wait_for(job_id).state is State.CANCELLED


def test_the_loss_of_redis_neither_stops_the_running_job_nor_the_next(
    service: Service, start_worker: StartWorker, quick: Settings, own_valkey: Valkey
) -> None:
    worker = start_worker(step_s=0.05, settings=quick.model_copy(update={"redis_url": own_valkey.url}))
    redis = queue.connect(own_valkey.url)
    running = service.submit(steps=40)
    wait_until(lambda: len(worker.pipeline.stepped) >= 2, "two steps")
    own_valkey.kill()
    assert service.wait_for(running).state is State.SUCCEEDED
    assert service.wait_for(service.submit(ring=False)).state is State.SUCCEEDED
    own_valkey.start()
    # It listens again, and hears both rings and cancels.
    wait_until(lambda: redis.pubsub_numsub(CANCELS)[0][1] == 1, "a worker that hears of cancels")
    wait_until(lambda: worker_is_listed(redis, worker), "a worker that is listed by RQ")
    assert service.wait_for(service.submit(ring=False)).state is State.SUCCEEDED
    redis.close()


def worker_is_listed(redis: Redis, worker: Running) -> bool:
    return bool(redis.sismember("rq:workers", f"rq:worker:{worker.consumer.name}"))


def test_a_worker_starts_without_redis_and_finds_its_jobs(
    service: Service, start_worker: StartWorker, quick: Settings, away_redis_url: str
) -> None:
    start_worker(settings=quick.model_copy(update={"redis_url": away_redis_url}))
    assert service.wait_for(service.submit(ring=False)).state is State.SUCCEEDED


# The end


def test_a_worker_that_is_asked_to_stop_takes_no_more_jobs_and_finishes_the_one_it_has(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker()
    running = service.submit(prompt="wait")
    service.wait_for(running, State.RUNNING)
    waiting = service.submit()
    worker.ask_to_stop()
    worker.pipeline.gate.set()
    worker.stop()
    assert worker.has_ended_well
    assert service.job(running).state is State.SUCCEEDED
    assert service.job(waiting).state is State.QUEUED


def test_what_does_not_finish_in_time_is_given_back_at_once_for_others_to_take(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    worker = start_worker(settings=quick.model_copy(update={"shutdown_s": 0.5}))
    job_id = service.submit(prompt="wait")
    service.wait_for(job_id, State.RUNNING)
    worker.ask_to_stop()
    worker.thread.join(10)
    job = service.job(job_id)
    assert (job.state, job.attempt - job.infra_failures) == (State.QUEUED, 0)
    # Its step still hangs, so only the end of the process would end it.
    assert worker.has_ended_well is False
    assert service.store.claim_next("another worker", ["storybook"]) is not None


def test_files_of_lost_attempts_are_swept_away(service: Service, start_worker: StartWorker) -> None:
    job_id = service.submit()
    service.storage.put(f"{job_id}/1-0.png", b"of an attempt that was lost")
    execute(service, sa.update(jobs).where(jobs.c.id == job_id).values(attempt=2))
    service.storage.put(f"{'0' * 32}/1-0.png", b"of a job that is gone")
    start_worker()
    job = service.wait_for(job_id)
    wait_until(lambda: len(list(service.storage.list())) == 2, "nothing but what is published")
    assert service.files_of(job_id) == sorted([job.images[0].key, job.images[0].thumbnail_key])
