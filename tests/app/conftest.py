"""What the front door's tests share: the app with a model to ask for, and hands that develop a job."""

import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx2
import pytest
import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image as Pixels

from app.connections import Connection
from app.dialects.sizing import made_size
from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.spec import image_seed
from app.jobs.storage import Storage, image_key, open_storage, thumbnail_key
from app.jobs.store import Claim, Job, PublishedImage, Store, Succeeded
from app.main import create_app

TIMINGS = {"text_s": 0.01, "denoise_s": 0.5, "decode_s": 0.02, "encode_s": 0.003}

BASE_URL = "http://127.0.0.1:7860"


@pytest.fixture(autouse=True, scope="session")
def _plain_log() -> None:
    """Log as a process without a terminal does: the default draws every variable of every frame, for seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The front door; no model is registered."""
    return create_app(settings)


@pytest.fixture
def bare_client(app: FastAPI) -> Iterator[TestClient]:
    """A client of a service where no worker ever registered a model."""
    with TestClient(app, base_url=BASE_URL, follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(bare_client: TestClient, store: Store, entry: CatalogueEntry) -> TestClient:
    """A client of a service that knows one model, which a living worker serves."""
    store.register_model("worker-1", entry)
    store.worker_beat("worker-1", {"pid": 1})
    return bare_client


@pytest.fixture
def submit(client: TestClient) -> Callable[..., dict[str, object]]:
    """Posts a job and returns it as the API answered."""

    def post(**fields: object) -> dict[str, object]:
        response = client.post(
            "/api/v1/jobs", json={"task": "text_to_image", "prompt": "a red cat", "steps": 4, **fields}
        )
        assert response.status_code == 202, response.text
        return dict(response.json())

    return post


@pytest.fixture
def claim(store: Store) -> Callable[[], Claim]:
    """Takes the oldest queued job as a worker does."""

    def take() -> Claim:
        claim = store.claim_next("worker-1", ["storybook"])
        assert claim is not None
        return claim

    return take


@pytest.fixture
def develop(store: Store, settings: Settings, claim: Callable[[], Claim]) -> Callable[[], Job]:
    """Does all of a worker's work for the oldest queued job, in one colour and without a model."""
    storage = open_storage(settings.resolved_storage_url)

    def work() -> Job:
        mine = claim()
        assert finish(store, storage, mine)
        return store.get(mine.job_id, mine.owner)

    return work


def finish(store: Store, storage: Storage, claim: Claim) -> bool:
    """Develop what was claimed; returns whether the job ended so."""
    images = tuple(_published(storage, claim, index) for index in range(claim.params.num_images))
    return store.finish(claim, Succeeded(images, TIMINGS, model_revision="r1", fingerprint="cpu-test"))


def _published(storage: Storage, claim: Claim, index: int) -> PublishedImage:
    params = claim.params
    width, height = made_size(params)
    pixels = Pixels.new("RGB", (width, height), (180, 40 * index % 256, 30))
    file, thumbnail = io.BytesIO(), io.BytesIO()
    pixels.save(file, params.format.upper())
    pixels.save(thumbnail, "WEBP")
    key = image_key(claim.job_id, claim.attempt, index, params.format)
    small = thumbnail_key(claim.job_id, claim.attempt, index, 256)
    storage.put(key, file.getvalue())
    storage.put(small, thumbnail.getvalue())
    return PublishedImage(
        index=index,
        seed=image_seed(params.seed, index),
        width=width,
        height=height,
        sha256=hashlib.sha256(file.getvalue()).hexdigest(),
        size_bytes=len(file.getvalue()),
        key=key,
        thumbnail_key=small,
    )


@pytest.fixture
def serve() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """Puts an app behind a real socket, in a thread, for the length of a `with`; gives its URL."""
    return served


@pytest.fixture
def url(app: FastAPI, store: Store, entry: CatalogueEntry) -> Iterator[str]:
    """The URL of a really running API that knows one model."""
    store.register_model("worker-1", entry)
    with served(app) as url:
        yield url


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    config = uvicorn.Config(app, http=Connection, port=0, log_level="warning", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()
    listener.listen()  # bound is not yet listening: until it is, a request is refused instead of kept waiting
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        # The first request waits until the app has started.
        httpx2.get(f"{url}/healthz", timeout=30).raise_for_status()
        yield url
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
