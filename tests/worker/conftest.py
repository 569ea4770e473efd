"""A worker in a thread of the test, on the real Valkey and the real SQLite, with a pipeline that costs nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import structlog
from redis import Redis

from app.jobs import queue
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Job, State, Store, open_store
from tests.worker.fake_pipeline import FakePipeline, FakeStudio
from worker.consumer import Consumer

OWNER = "local"
PATIENCE_S = 60.0


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for what will surely come; fail, naming it, if it does not."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
        time.sleep(0.005)


@dataclass
class Service:
    """The service without its front door: submit jobs, see what becomes of them."""

    settings: Settings
    store: Store
    storage: Storage
    redis: Redis
    params: Callable[..., TextToImageParams]

    def submit(self, *, ring: bool = True, owner: str = OWNER, **fields: object) -> str:
        """Queue a job and return its id."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                job = self.store.submit(self.params(**fields), owner)
                break
            except StoreUnavailable:
                # Some tests let nobody wait for SQLite's lock, which a slow machine may hold for a moment.
                assert time.monotonic() < deadline, "the database is locked for good"
                time.sleep(0.05)
        if ring:
            queue.ring(self.redis)
        return job.id

    def job(self, job_id: str, owner: str = OWNER) -> Job:
        return self.store.get(job_id, owner)

    def wait_for(self, job_id: str, *states: State, owner: str = OWNER) -> Job:
        """Wait until the job is in one of `states`; by default, until it has ended."""
        wanted = states or tuple(state for state in State if state.is_terminal)
        wait_until(lambda: self.job(job_id, owner).state in wanted, f"job {job_id} in {', '.join(wanted)}")
        return self.job(job_id, owner)

    def files_of(self, job_id: str) -> list[str]:
        return sorted(self.storage.list(job_id))


@dataclass
class Running:
    """A worker at work in a thread; `pipeline` shows what it did."""

    consumer: Consumer
    pipeline: FakePipeline
    thread: threading.Thread = field(init=False)
    has_ended_well: bool | None = None
    is_asked: bool = False

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._work, name="worker-main", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        self.has_ended_well = self.consumer.work()

    def ask_to_stop(self) -> None:
        """Ask it to stop, once: the second request would be a hurry."""
        if not self.is_asked:
            self.is_asked = True
            self.consumer.stop()
            # Outside the main thread no signal gets it out of its wait for a ring; a ring does.
            queue.ring(self.consumer.connection)

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self.ask_to_stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), f"the worker did not stop within {PATIENCE_S:g} s"


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    """Structlog's own default paints stack traces, with every local variable, for seconds."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """The settings with every wait so short that a test can sit through it."""
    waits = {"lease_s": 2.0, "beat_s": 0.2, "sweep_s": 0.5, "backoff_s": 0.05, "max_backoff_s": 0.1}
    return settings.model_copy(update=waits)


@pytest.fixture
def service(
    quick: Settings, redis_connection: Redis, make_params: Callable[..., TextToImageParams]
) -> Iterator[Service]:
    """The service that the workers of `start_worker` work for."""
    store = open_store(quick)
    yield Service(quick, store, open_storage(quick.resolved_storage_url), redis_connection, make_params)
    store.close()


@pytest.fixture
def start_worker(service: Service, entry: CatalogueEntry) -> Iterator[Callable[..., Running]]:
    """Starts workers; they are stopped, and must stop, when the test ends."""
    running: list[Running] = []

    def start(
        *,
        step_s: float = 0.0,
        max_rows: int = 1,
        settings: Settings = service.settings,
        storage: Storage = service.storage,
    ) -> Running:
        pipeline = FakePipeline(step_s)
        store = open_store(settings)
        consumer = Consumer(settings, store, storage, FakeStudio(entry, pipeline, max_rows))
        running.append(Running(consumer, pipeline))
        return running[-1]

    yield start
    for worker in running:
        worker.pipeline.gate.set()
        worker.stop()
