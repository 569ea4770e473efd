"""A served API whose jobs are done by somebody: what clients of the dialects meet, without a model.

One service serves a whole file of tests; a test asks for `own_service` if it wants one that nobody else has.
"""

import base64
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.events import publish_done, publish_progress
from app.jobs.queue import connect
from app.jobs.settings import Settings
from app.jobs.spec import steps_in_all
from app.jobs.storage import open_storage
from app.jobs.store import ClaimBeat, Job, State, Store, open_store
from app.main import create_app
from tests.app.conftest import finish, served
from tests.app.pictures import photo
from tests.conftest import Valkey

PREVIEW = "data:image/webp;base64," + base64.b64encode(photo(16, 16, "WEBP")).decode()
STEPS = 4

ENTRY = CatalogueEntry(
    name="storybook",
    revision="r1",
    tasks=["text_to_image", "image_to_image", "inpaint"],
    native_width=128,
    native_height=128,
    min_side=64,
    max_side=256,
    multiple=8,
    samplers=["ddim", "ddpm", "euler_ancestral"],
    defaults=ModelDefaults(steps=25, guidance_scale=5.0, sampler="ddim"),
    parameters=12_000_000,
    licence="MIT",
    vocabulary={"objects": ["cat", "house"]},
    fingerprint="cpu-test",
)

NAMES = ["storybook", "an-upscaler"]

UPSCALER = ENTRY.model_copy(update={"name": "an-upscaler", "tasks": ["super_resolution"], "scale": 4})


class Hands(threading.Thread):
    """Does every job of a service as it comes: a few steps with previews, then pictures in one colour."""

    def __init__(self, settings: Settings, store: Store, redis: Redis) -> None:
        super().__init__(name="hands")
        self._store, self._redis = store, redis
        self._storage = open_storage(settings.resolved_storage_url)
        self._ended = threading.Event()
        self.may_work = threading.Event()
        self.may_work.set()
        self.stops_at: int | None = None

    def run(self) -> None:
        """Work until told to stop."""
        while not self._ended.wait(0.01):
            if self.may_work.is_set() and (claim := self._store.claim_next("worker-1", NAMES)) is not None:
                for step in range(1, STEPS + 1):
                    publish_progress(self._redis, claim.job_id, step, STEPS, 0, PREVIEW)
                    steps = steps_in_all(claim.params)
                    self._store.beat("worker-1", [ClaimBeat(claim.job_id, claim.attempt, step * steps // STEPS, steps)])
                    while step == self.stops_at and not self._ended.wait(0.01):
                        pass
                done = finish(self._store, self._storage, claim)
                publish_done(self._redis, claim.job_id, State.SUCCEEDED if done else State.CANCELLED)

    def stop(self) -> None:
        """End, and wait for it."""
        self._ended.set()
        self.join(10)


@contextmanager
def service(folder: Path, redis_url: str, migrated: Path) -> Iterator[tuple[Settings, Store]]:
    """Settings and store of a service in this folder, which knows no model."""
    shutil.copytree(migrated, folder / "data")
    settings = Settings(data_dir=folder / "data", redis_url=redis_url)
    store = open_store(settings)
    yield settings, store
    store.close()


@pytest.fixture(scope="module")
def _shared(
    tmp_path_factory: pytest.TempPathFactory, shared_valkey: Valkey, _migrated_folder: Path
) -> Iterator[tuple[Settings, Store, str]]:
    with service(tmp_path_factory.mktemp("service"), shared_valkey.url, _migrated_folder) as (settings, store):
        store.register_model("worker-1", ENTRY)
        with served(create_app(settings)) as url:
            yield settings, store, url


@pytest.fixture
def own_service(tmp_path: Path, shared_valkey: Valkey, _migrated_folder: Path) -> Iterator[tuple[Settings, Store]]:
    """Settings and store of a service that this test has for itself, without a model."""
    with service(tmp_path, shared_valkey.url, _migrated_folder) as own:
        yield own


@pytest.fixture
def settings(_shared: tuple[Settings, Store, str]) -> Settings:
    """The settings of the service."""
    return _shared[0]


@pytest.fixture
def store(_shared: tuple[Settings, Store, str]) -> Store:
    """Its store, without jobs that wait."""
    for job in _shared[1].jobs(None, State.QUEUED).items:
        _shared[1].cancel(job.id, None)
    return _shared[1]


@pytest.fixture
def url(_shared: tuple[Settings, Store, str], store: Store) -> str:
    """Where it is."""
    return _shared[2]


@pytest.fixture
def make_hands(shared_valkey: Valkey) -> Iterator[Callable[[Settings, Store], Hands]]:
    """Finds somebody who does the jobs of a service."""
    redis = connect(shared_valkey.url, timeout_s=5)
    made: list[Hands] = []

    def make(settings: Settings, store: Store) -> Hands:
        made.append(Hands(settings, store, redis))
        made[-1].start()
        return made[-1]

    yield make
    for hands in made:
        hands.stop()
    redis.close()


@pytest.fixture
def hands(settings: Settings, store: Store, make_hands: Callable[[Settings, Store], Hands]) -> Hands:
    """Somebody who does the jobs of the service."""
    return make_hands(settings, store)


@pytest.fixture
def newest(store: Store) -> Callable[[], Job]:
    """The job that was asked for last."""
    return lambda: store.jobs(None).items[0]


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what will surely come."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what}: waited in vain"
        time.sleep(0.01)
