"""The processes of the crash points' scenario: a worker, and the API with its only client."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.worker import run_fake_worker  # isort: skip  # first: it keeps torch out

import structlog
from fastapi.testclient import TestClient

import worker.consumer
import worker.crew
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import open_store
from app.main import create_app
from tests.chaos.hooks import Hooks, install
from tests.chaos.plan import ENTRY
from tests.worker.fake_pipeline import FakePipeline, FakeStudio

assert run_fake_worker.library is not None

PATIENCE_S = 20.0
BASE_URL = "http://127.0.0.1:7860"
JOBS = "/api/v1/jobs"

WISHES: Sequence[dict[str, Any]] = (
    {"prompt": "two pictures", "num_images": 2, "seed": 1},
    {"prompt": "a bug"},
    {"prompt": "oom"},
    {"prompt": "to be cancelled", "steps": 200},
    {"prompt": "the last one", "seed": 5},
)
"""What the client of the scenario asks for; it cancels the fourth as soon as it runs."""

CANCELLED = 3


@dataclass(frozen=True)
class Scene:
    """One run: its folder, and the settings of its processes."""

    folder: Path
    settings: Settings

    @property
    def acks(self) -> Path:
        """What the client was answered, one line each."""
        return self.folder / "acks"

    @property
    def result(self) -> Path:
        """How everything is in the end, as the API tells it."""
        return self.folder / "result"

    @property
    def files(self) -> Path:
        """Where the pictures are."""
        return self.settings.data_dir / "files"


def fork(work: Callable[[], object], log: Path) -> int:
    """Do `work` in a child process, whose output goes to `log`; returns its id."""
    process_id = os.fork()
    if process_id:
        return process_id
    status = 1
    try:
        output = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        structlog.configure(
            processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        work()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def worker_process(scene: Scene, hooks: Hooks) -> None:
    """A worker with a pipeline that costs nothing, until SIGTERM."""
    install(hooks)
    worker.crew.TIDY_S = 0.1
    store, storage = open_store(scene.settings), open_storage(scene.settings.resolved_storage_url)
    studio = FakeStudio(ENTRY, FakePipeline(0.005))
    if not worker.consumer.Consumer(scene.settings, store, storage, studio).work():
        os._exit(0)


def api_process(scene: Scene, hooks: Hooks) -> None:
    """The API and its only client, who goes on where it was when the API died."""
    install(hooks)
    with TestClient(create_app(scene.settings), base_url=BASE_URL) as client:
        acks = dict(told(scene))
        for number, wish in enumerate(WISHES):
            if f"accepted {number}" not in acks:
                acks |= tell(scene, f"accepted {number}", submit(client, wish))
        victim = acks[f"accepted {CANCELLED}"]
        if "cancelled" not in acks:
            until(lambda: client.get(f"{JOBS}/{victim}").json()["state"] != "queued", "a job that runs")
            tell(scene, "cancel asked", victim)
            until(lambda: client.post(f"{JOBS}/{victim}/cancel").status_code == 200, "an acknowledged cancel")
            tell(scene, "cancelled", victim)
        until(lambda: not any(job["finished_at"] is None for job in all_jobs(client)), "the end of every job")
        images = client.get("/api/v1/images", params={"limit": 100}).json()["items"]
        contents = {image["id"]: client.get(image["url"]).content.hex() for image in images}
        unfinished = scene.result.with_suffix(".part")
        unfinished.write_text(json.dumps({"jobs": all_jobs(client), "images": images, "contents": contents}))
        unfinished.rename(scene.result)


def submit(client: TestClient, wish: Mapping[str, Any]) -> str:
    """Ask until it is accepted; the client cannot know what became of a wish that was not."""
    accepted: list[str] = []

    def is_accepted() -> bool:
        response = client.post(JOBS, json={"task": "text_to_image", **wish})
        if response.status_code == 202:
            accepted.append(response.json()["id"])
        return response.status_code == 202

    until(is_accepted, "a 202")
    return accepted[0]


def all_jobs(client: TestClient) -> list[dict[str, Any]]:
    """Every job there is."""
    response = client.get(JOBS, params={"limit": 100})
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def tell(scene: Scene, what: str, job_id: str) -> dict[str, str]:
    """Write down an answer; a line that is written outlives the process."""
    with scene.acks.open("a") as file:
        file.write(json.dumps([what, job_id]) + "\n")
    return {what: job_id}


def told(scene: Scene) -> Iterator[tuple[str, str]]:
    """The answers so far."""
    if scene.acks.exists():
        for line in scene.acks.read_text().splitlines():
            what, job_id = json.loads(line)
            yield what, job_id


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(0.02)
