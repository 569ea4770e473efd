"""A service to throw requests at: the app on a real socket, with Valkey, SQLite, two keys, and hands that develop."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.settings import Settings
from app.jobs.spec import TASKS
from app.jobs.storage import open_storage
from app.jobs.store import Store, migrate, open_store
from app.main import create_app
from tests.app.conftest import finish, served
from tests.conftest import Valkey

WORKER, MODEL = "stand-in", "storybook"

ENTRY = CatalogueEntry(
    name=MODEL,
    revision="r1",
    tasks=list(TASKS),
    native_width=64,
    native_height=64,
    min_side=64,
    max_side=128,
    multiple=8,
    scale=4,
    samplers=["ddim", "ddpm"],
    defaults=ModelDefaults(steps=4, guidance_scale=5.0, sampler="ddim"),
    parameters=1,
    licence="MIT",
    vocabulary={},
    examples=[],
    fingerprint="cpu-test",
)


@dataclass(frozen=True)
class Household:
    """Where the service is, and the key of somebody who may use it as much as they like."""

    url: str
    key: str


@contextmanager
def household() -> Iterator[Household]:
    """A service of its own, for the length of a `with`."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    valkey = Valkey(folder)
    valkey.start()
    settings = Settings(data_dir=folder / "data", redis_url=valkey.url, key_requests_per_minute=0, key_queued_jobs=0)
    migrate(settings)
    store = open_store(settings)
    store.register_model(WORKER, ENTRY)
    key = store.keys.create("ann").token
    is_over = threading.Event()
    hands = threading.Thread(target=_develop, args=(store, settings, is_over))
    hands.start()
    try:
        app = create_app(settings)
        # Written once, and not while somebody waits for it.
        app.openapi()
        with served(app) as url:
            yield Household(url, key)
    finally:
        is_over.set()
        hands.join(30)
        store.close()
        valkey.kill()
        shutil.rmtree(folder)


def _develop(store: Store, settings: Settings, is_over: threading.Event) -> None:
    storage = open_storage(settings.resolved_storage_url)
    store.worker_beat(WORKER, {"pid": 1})
    while not is_over.wait(0.05):
        while claim := store.claim_next(WORKER, [MODEL]):
            finish(store, storage, claim)
