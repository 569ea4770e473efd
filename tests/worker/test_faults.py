"""What a worker stands on fails for a while: disk, database, Redis, device. No job is lost or done by halves."""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from app.jobs import queue
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import ErrorCode, StorageError
from app.jobs.settings import Settings
from app.jobs.storage import Storage, open_storage
from app.jobs.store import State
from app.jobs.tables import jobs
from app.supervisor import programs
from app.supervisor.launcher import Launcher
from tests.conftest import Valkey
from tests.faults import FaultyStorage, database_away, database_locked, engines_of, full_database, small_disk
from tests.worker.conftest import PATIENCE_S, Running, Service, wait_until
from tests.worker.test_consumer import execute
from tests.worker.test_process import SCRIPT
from worker import publishing

StartWorker = Callable[..., Running]

SIXTEEN = {"num_images": 16, "steps": 1, "width": 64, "height": 64}


@pytest.fixture
def patient(quick: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose leases outlast every fault of these tests; a locked database is noticed soon."""
    monkeypatch.setattr("app.jobs.database.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(publishing, "STORE_RETRY_S", 0.05)
    return quick.model_copy(update={"lease_s": 60.0})


@contextlib.contextmanager
def heard(*events: str) -> Iterator[None]:
    """Does not leave the block before these events were logged within it; fails if they never are."""
    with structlog.testing.capture_logs() as logs:
        yield
        wait_until(lambda: set(events) <= {entry["event"] for entry in logs}, f"a log of {', '.join(events)}")


# The disk


def test_a_result_that_the_full_database_refuses_is_kept_until_there_is_room(
    service: Service, start_worker: StartWorker, patient: Settings
) -> None:
    worker = start_worker(settings=patient)
    job_id = service.submit(prompt="wait", **SIXTEEN)
    service.wait_for(job_id, State.RUNNING)
    with full_database(*engines_of(worker.consumer._store)):
        with heard("store.away"):
            worker.pipeline.gate.set()
        assert len(service.files_of(job_id)) == 32
        assert service.job(job_id).state is State.RUNNING
        assert service.store.images("local").items == ()
    job = service.wait_for(job_id)
    assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 1, 0)
    assert len(job.images) == 16


def test_on_a_disk_that_is_really_full_no_half_a_picture_is_left(
    service: Service, start_worker: StartWorker, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        storage = open_storage((disk / "files").as_uri())
        ballast = disk / "ballast"
        # Room for one noisy picture of 128 by 128 pixels, not for two.
        ballast.write_bytes(b"#" * ((1 << 20) - 70_000))
        start_worker(storage=storage)
        job_id = service.submit(num_images=2)
        wait_until(lambda: service.job(job_id).infra_failures >= 2, "a job that is given back")
        assert list(storage.unfinished()) == []
        ballast.unlink()
        job = service.wait_for(job_id)
        assert (job.state, job.losses) == (State.SUCCEEDED, 0)
        assert [len(storage.get(image.key)) for image in job.images] == [image.size_bytes for image in job.images]


def test_a_storage_that_stumbles_is_asked_again(
    service: Service, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "STORAGE_RETRIES_S", (0.01, 0.01))
    start_worker(storage=FaultyStorage(service.storage, [StorageError("500 Internal Server Error")] * 2))
    job = service.wait_for(service.submit())
    assert (job.state, job.attempt, job.infra_failures) == (State.SUCCEEDED, 1, 0)


def test_a_storage_that_never_works_fails_the_job_in_the_end(
    service: Service, start_worker: StartWorker, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "STORAGE_RETRIES_S", (0.01, 0.01))
    storage = FaultyStorage(service.storage, [StorageError("500 Internal Server Error")] * 9)
    start_worker(storage=storage, settings=quick.model_copy(update={"max_infra_failures": 2}))
    job = service.wait_for(service.submit())
    assert job.error is not None
    assert (job.state, job.error.code) == (State.FAILED, ErrorCode.INFRASTRUCTURE)
    assert (job.attempt, job.infra_failures, storage.refusals) == (3, 3, [])
    assert service.wait_for(service.submit()).state is State.SUCCEEDED


# The database


@pytest.mark.parametrize("fault", ["locked", "away"])
def test_while_the_database_is_out_of_reach_a_result_and_a_waiting_job_are_kept(
    service: Service, start_worker: StartWorker, patient: Settings, fault: str
) -> None:
    worker = start_worker(settings=patient)
    running = service.submit(prompt="wait")
    service.wait_for(running, State.RUNNING)
    waiting = service.submit()
    store = worker.consumer._store
    out_of_reach = database_locked(patient) if fault == "locked" else database_away(*engines_of(store))
    # The beat fails, and the result cannot be told; then the next job cannot be claimed either.
    with out_of_reach:
        with heard("store.away", "ticker.failed"):
            worker.pipeline.gate.set()
        assert service.job(running).state is State.RUNNING
    for job_id in (running, waiting):
        job = service.wait_for(job_id)
        assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 1, 0)


def test_a_database_out_of_reach_for_longer_than_the_lease_costs_an_attempt_and_publishes_nothing_twice(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker()
    job_id = service.submit(prompt="wait")
    service.wait_for(job_id, State.RUNNING)
    with database_away(*engines_of(worker.consumer._store)):
        worker.pipeline.gate.set()
        wait_until(lambda: service.store.sweep().requeued == (job_id,), "a lease that runs out")
        start_worker().pipeline.gate.set()
        job = service.wait_for(job_id)
        assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 2, 1)
    assert service.wait_for(service.submit()).state is State.SUCCEEDED
    wait_until(lambda: worker.consumer._crew.is_idle, "a first worker that has let go")
    assert service.job(job_id) == job
    assert len(service.store.images("local").items) == 2


def test_a_stopping_worker_gives_back_again_what_the_locked_database_did_not_hear(
    service: Service, start_worker: StartWorker, patient: Settings
) -> None:
    worker = start_worker(settings=patient.model_copy(update={"shutdown_s": 0.1}))
    # Its step does not end, so nobody but the one who stops can give it back.
    job_id = service.submit(prompt="wait")
    service.wait_for(job_id, State.RUNNING)
    with database_locked(patient), heard("store.away"):
        worker.ask_to_stop()
    worker.stop()
    job = service.job(job_id)
    assert (job.state, job.attempt - job.infra_failures, job.losses) == (State.QUEUED, 0, 0)


# Redis


def test_a_flushed_redis_delays_nothing_that_runs_and_loses_nothing_that_waits(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker()
    running = service.submit(prompt="wait")
    service.wait_for(running, State.RUNNING)
    waiting = [service.submit() for _ in range(3)]
    service.redis.flushall()
    worker.pipeline.gate.set()
    for job_id in (running, *waiting):
        job = service.wait_for(job_id)
        assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


def test_an_idle_worker_waits_for_a_ring_without_being_cut_off(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    with structlog.testing.capture_logs() as logs:
        start_worker(settings=quick.model_copy(update={"sweep_s": 3.0}))
        wait_until(lambda: bool(waiting_for_a_ring(service.redis)), "a worker that waits")
        (waits,) = waiting_for_a_ring(service.redis)
        time.sleep(2.2)
        # The very same wait, longer than any other answer of Redis may take.
        assert waiting_for_a_ring(service.redis) == [waits]
    assert "redis.away" not in {entry["event"] for entry in logs}


def test_a_redis_that_hangs_keeps_a_worker_neither_from_its_jobs_nor_from_its_end(
    service: Service, start_worker: StartWorker, quick: Settings, own_valkey: Valkey
) -> None:
    worker = start_worker(settings=quick.model_copy(update={"redis_url": own_valkey.url}))
    service.wait_for(service.submit(ring=False))
    assert own_valkey._process is not None
    own_valkey._process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        assert service.wait_for(service.submit(ring=False)).state is State.SUCCEEDED
    worker.ask_to_stop()
    worker.thread.join(15)
    assert not worker.thread.is_alive()


def test_a_wait_for_a_ring_is_given_up_once_and_not_asked_again(
    service: Service, start_worker: StartWorker, quick: Settings, own_valkey: Valkey
) -> None:
    bell = start_worker(settings=quick.model_copy(update={"redis_url": own_valkey.url})).consumer._bell
    assert own_valkey._process is not None
    own_valkey._process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(RedisTimeout):
        queue.consume(bell, 1)
    # A second asking would make it four seconds.
    assert time.monotonic() - started < 3.5
    own_valkey._process.send_signal(signal.SIGCONT)


def waiting_for_a_ring(redis: Redis) -> list[str]:
    return [client["id"] for client in redis.client_list() if "b" in client["flags"]]


# The device


@pytest.mark.parametrize("culprit", ["hang", "lost"])
def test_a_job_that_breaks_the_device_fails_alone_after_three_workers(
    service: Service, entry: CatalogueEntry, tmp_path: Path, culprit: str
) -> None:
    (tmp_path / "entry.json").write_text(entry.model_dump_json())
    program = programs.worker(service.settings, service.store)
    said = service.settings.model_dump(exclude_unset=True)
    program = replace(
        program,
        command=[sys.executable, str(SCRIPT), str(tmp_path / "entry.json"), "0.01", "1"],
        environment={f"DARKROOM_{name.upper()}": str(value) for name, value in said.items() if value is not None},
    )
    told: list[str] = []
    neighbours = [service.submit() for _ in range(3)]
    bad = service.submit(prompt=culprit)
    neighbours += [service.submit() for _ in range(3)]

    async def keep_until_all_have_ended() -> None:
        async with asyncio.timeout(PATIENCE_S), Launcher(told.append) as launcher:
            await launcher.start(program)
            while not all(service.job(job_id).state.is_terminal for job_id in (bad, *neighbours)):
                await asyncio.sleep(0.05)

    asyncio.run(keep_until_all_have_ended())
    job = service.job(bad)
    assert job.error is not None
    assert (job.state, job.error.code) == (State.FAILED, ErrorCode.WORKER_LOST)
    assert (job.attempt, job.losses) == (3, 3)
    assert [service.job(job_id).state for job_id in neighbours] == [State.SUCCEEDED] * 6
    assert sum("worker ended with exit code 70; starting it again" in line for line in told) == 3


class SlowStorage(FaultyStorage):
    """A storage that writes nothing before `gate` is set."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.gate = threading.Event()
        self.is_asked = threading.Event()

    def put(self, key: str, data: bytes) -> None:
        self.is_asked.set()
        self.gate.wait()
        super().put(key, data)


@pytest.fixture
def lost_twice(service: Service) -> str:
    """A queued job whose worker was lost twice."""
    job_id = service.submit(ring=False)
    for _ in range(2):
        execute(service, sa.update(jobs).where(jobs.c.id == job_id).values(not_before=0))
        assert service.store.claim_next("a worker that dies", ["storybook"]) is not None
        execute(service, sa.update(jobs).where(jobs.c.id == job_id).values(lease_until=0))
        assert service.store.sweep().requeued == (job_id,)
    return job_id


def test_beside_a_job_that_was_lost_twice_no_other_is_taken(
    service: Service, start_worker: StartWorker, lost_twice: str
) -> None:
    storage = SlowStorage(service.storage)
    start_worker(storage=storage)
    assert storage.is_asked.wait(PATIENCE_S)
    # Its steps are done, so there would be room for another if it were any job.
    neighbour = service.submit()
    time.sleep(1)
    assert service.job(neighbour).state is State.QUEUED
    storage.gate.set()
    for job_id in (lost_twice, neighbour):
        assert service.wait_for(job_id).state is State.SUCCEEDED


def test_a_job_that_was_lost_twice_is_not_taken_beside_another(
    service: Service, start_worker: StartWorker, lost_twice: str
) -> None:
    execute(service, sa.update(jobs).where(jobs.c.id == lost_twice).values(not_before=1e12))
    storage = SlowStorage(service.storage)
    start_worker(storage=storage)
    neighbour = service.submit()
    assert storage.is_asked.wait(PATIENCE_S)
    execute(service, sa.update(jobs).where(jobs.c.id == lost_twice).values(not_before=0))
    queue.ring(service.redis)
    time.sleep(1)
    assert service.job(lost_twice).state is State.QUEUED
    storage.gate.set()
    for job_id in (lost_twice, neighbour):
        assert service.wait_for(job_id).state is State.SUCCEEDED


def test_a_job_that_was_lost_twice_has_its_turn_though_others_never_end(
    service: Service, start_worker: StartWorker, lost_twice: str
) -> None:
    execute(service, sa.update(jobs).where(jobs.c.id == lost_twice).values(not_before=1e12))
    worker = start_worker(step_s=0.01, max_rows=2)
    # Two at a time, so that the worker would never be idle.
    for _ in range(30):
        service.submit(steps=40)
    wait_until(lambda: len(worker.pipeline.stepped) > 2, "a busy worker")
    execute(service, sa.update(jobs).where(jobs.c.id == lost_twice).values(not_before=0))
    assert service.wait_for(lost_twice).state is State.SUCCEEDED
    counts = [job.state for job in service.store.jobs("local", limit=100).items]
    assert State.QUEUED in counts
