"""A job that is made from pictures, from its claim on: it gets them to the last bit, or its row says why not."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.jobs import blobs, queue
from app.jobs.failures import ErrorCode, StorageError
from app.jobs.pictures import normalise
from app.jobs.spec import read_params
from app.jobs.storage import Storage
from app.jobs.store import Blob, Job, State
from app.jobs.tables import blobs as blob_rows
from tests.app.pictures import photo
from tests.worker.conftest import OWNER, Running, Service, wait_until
from worker.pictures import colours

StartWorker = Callable[..., Running]


@pytest.fixture
def picture(service: Service) -> Blob:
    """A picture in the storage."""
    return blobs.keep(service.store, service.storage, normalise(photo()))


@pytest.fixture
def submit(service: Service, picture: Blob) -> Callable[..., str]:
    """Queues a job that is made from the picture; returns its id."""

    def send(**fields: Any) -> str:
        given = {"image": f"sha256:{picture.sha256}", "strength": 0.5, "fit": "cover", "width": 96, "height": 64}
        common = service.params(**fields).model_dump(exclude={"upscale", "upscaler"})
        job = service.store.submit(read_params(common | {"task": "image_to_image"} | given), OWNER)
        queue.ring(service.redis)
        return job.id

    return send


class Unreliable:
    """The real storage, which is away for the first `outages` reads, and from then on answers with `data` if any."""

    def __init__(self, storage: Storage, outages: int = 0, data: bytes | None = None) -> None:
        self.real = storage
        self.outages = outages
        self.data = data

    def get(self, key: str) -> bytes:
        if self.outages > 0:
            self.outages -= 1
            raise StorageError(f"the storage failed at {key!r}: connection refused")
        return self.real.get(key) if self.data is None else self.data

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


def lost(job: Job) -> bool:
    return job.error is not None and job.error.code == ErrorCode.INPUT_LOST


def test_a_job_is_developed_from_its_picture(
    service: Service, start_worker: StartWorker, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start_worker()
    asked: list[Any] = []
    begin = worker.pipeline.begin
    monkeypatch.setattr(worker.pipeline, "begin", lambda request: asked.append(request) or begin(request))
    job = service.wait_for(submit())
    assert job.state is State.SUCCEEDED, job.error
    assert (job.images[0].width, job.images[0].height) == (96, 64)
    (request,) = asked
    assert np.array_equal(request.image, colours(photo()))


def test_a_storage_that_is_away_costs_the_job_nothing_but_time(
    service: Service, start_worker: StartWorker, submit: Callable[..., str]
) -> None:
    job_id = submit()
    start_worker(storage=Unreliable(service.storage, outages=2))
    job = service.wait_for(job_id)
    assert job.state is State.SUCCEEDED
    assert (job.infra_failures, job.losses) == (2, 0)


def test_a_picture_that_is_gone_fails_its_job_in_words_and_no_other(
    service: Service, start_worker: StartWorker, submit: Callable[..., str], picture: Blob
) -> None:
    service.storage.delete(picture.key)
    job_id = submit()
    worker = start_worker()
    job = service.wait_for(job_id)
    assert job.state is State.FAILED
    assert lost(job)
    assert "submit the job again" in job.error.message
    assert service.wait_for(service.submit()).state is State.SUCCEEDED
    assert worker.pipeline.stepped


def test_a_picture_that_is_not_what_was_submitted_is_as_good_as_gone(
    service: Service, start_worker: StartWorker, submit: Callable[..., str]
) -> None:
    job_id = submit()
    worker = start_worker(storage=Unreliable(service.storage, data=photo(95, 64)))
    assert lost(service.wait_for(job_id))
    assert not worker.pipeline.stepped


def test_a_pin_without_a_row_fails_its_job(
    service: Service, start_worker: StartWorker, submit: Callable[..., str], picture: Blob
) -> None:
    job_id = submit()
    engine = sa.create_engine(service.settings.resolved_database_url)
    with engine.begin() as connection:
        # As only a hand can do it: a database of ours refuses.
        connection.execute(sa.text("PRAGMA foreign_keys = OFF"))
        connection.execute(sa.delete(blob_rows))
    engine.dispose()
    start_worker()
    assert lost(service.wait_for(job_id))


def test_a_picture_that_cannot_be_read_fails_its_job_and_not_the_worker(
    service: Service, start_worker: StartWorker, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("worker.pictures.colours", broken)
    start_worker()
    job = service.wait_for(submit())
    assert job.error is not None
    assert job.error.code == ErrorCode.INTERNAL
    assert service.wait_for(service.submit()).state is State.SUCCEEDED


def test_a_picture_for_which_there_is_no_memory_just_now_is_read_another_time(
    service: Service, start_worker: StartWorker, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [MemoryError(), MemoryError()]

    def crowded(*given: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return colours(*given)

    monkeypatch.setattr("worker.pictures.colours", crowded)
    start_worker()
    job = service.wait_for(submit())
    assert (job.state, job.infra_failures) == (State.SUCCEEDED, 2)


def test_a_worker_that_waits_for_a_picture_takes_no_other_job_and_hears_that_it_shall_stop(
    service: Service, start_worker: StartWorker, submit: Callable[..., str]
) -> None:
    gate = threading.Event()

    class Slow(Unreliable):
        def get(self, key: str) -> bytes:
            gate.wait(60)
            return super().get(key)

    first = submit()
    second = service.submit()
    worker = start_worker(storage=Slow(service.storage))
    try:
        service.wait_for(first, State.RUNNING)
        worker.ask_to_stop()
        worker.consumer.stop()  # once more: without waiting for what is running
        wait_until(lambda: service.job(first).state is State.QUEUED, "the job given back")
        assert service.job(first).infra_failures == 1
        assert service.job(second).state is State.QUEUED
        assert not worker.pipeline.stepped
    finally:
        gate.set()
