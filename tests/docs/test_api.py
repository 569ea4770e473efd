"""The page about the API is right: its examples run as they stand, and its tables name every field and default."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
import torch
import uvicorn
from PIL import Image
from pydantic.fields import PydanticUndefined

from app.jobs.failures import ErrorCode
from app.jobs.settings import Settings
from app.jobs.spec import Wish
from app.jobs.storage import open_storage
from app.jobs.store import Store, open_store
from app.main import create_app
from app.routes.finding import Asked
from app.schemas import UploadOut
from tests.app.pictures import mask, photo
from tests.e2e.tiny_model import save_tiny_enlarger, save_tiny_model
from tests.worker.conftest import wait_until
from worker import studio
from worker.consumer import Consumer
from worker.studio import Studio

PAGE = Path(__file__).parents[2] / "docs" / "API.md"
KINDS = get_args(Wish)


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The API of these settings, on a port of its own."""
    config = uvicorn.Config(create_app(settings), port=0, log_level="warning", timeout_graceful_shutdown=5)
    listener = config.bind_socket()
    listener.listen()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def url(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a service that offers the four tasks."""
    save_tiny_model(tmp_path / "models" / "tiny")
    save_tiny_enlarger(tmp_path / "models" / "tiny-x4")
    # No bundled models: they take longer to load than all of this takes.
    monkeypatch.setattr(studio, "bundled_models", list)
    models = {"models_dir": tmp_path / "models", "default_model": "tiny", "sweep_s": 0.5, "threads": 1}
    quick = settings.model_copy(update=models)
    threads = torch.get_num_threads()
    store: Store = open_store(quick)
    consumer = Consumer(quick, store, open_storage(quick.resolved_storage_url), Studio.open(quick))
    worker = threading.Thread(target=consumer.work)
    worker.start()
    wait_until(lambda: len(store.known_models()) == 2, "the models in the catalogue")
    with served(quick) as url:
        yield url
    consumer.stop()
    worker.join(60)
    torch.set_num_threads(threads)
    store.close()


def test_every_example_runs_as_it_stands(url: str, tmp_path: Path) -> None:
    examples = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) >= 8
    script = "\n".join(examples)
    assert "http://127.0.0.1:7860" in script
    (tmp_path / "photo.png").write_bytes(photo(96, 64))
    (tmp_path / "mask.png").write_bytes(mask(96, 64))
    script = f"set -euo pipefail\n{script}".replace("http://127.0.0.1:7860", url)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    with Image.open(tmp_path / "enlarged.png") as enlarged:
        assert enlarged.size == (192, 128)
    jobs = httpx2.get(f"{url}/api/v1/jobs?limit=100").json()["items"]
    assert {job["task"] for job in jobs} == {kind.model_fields["task"].annotation.__args__[0] for kind in KINDS}
    for job in jobs:
        done_job = httpx2.get(f"{url}{job['links']['self']}?wait=60&until=done", timeout=70).json()
        assert done_job["state"] in ("succeeded", "cancelled"), done_job["error"]


def tables() -> dict[str, dict[str, str]]:
    """The fields that each section's table names, with what stands under `default`."""
    found: dict[str, dict[str, str]] = {}
    for section in re.split(r"^###? ", PAGE.read_text(), flags=re.MULTILINE):
        rows = re.findall(r"^\| (`.*?) \|.* \| (.*?) \|$", section, re.MULTILINE)
        if "| field |" in section:
            title = section.splitlines()[0]
            found[title] = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_name_every_field_of_a_task_and_its_default(kind: Any) -> None:
    task = kind.model_fields["task"].annotation.__args__[0]
    written = tables()
    told = written["What every task may say"] | written[task]
    assert set(told) == set(kind.model_fields)
    for name, field in kind.model_fields.items():
        default = told[name]
        if field.default is PydanticUndefined:
            assert default.startswith("required"), name
        elif field.default is None:
            assert not default.startswith(("`", "required")), name
        else:
            assert f"`{json.dumps(field.default)}`" in default, name


def test_the_members_of_an_upload_are_named() -> None:
    assert named_in("## Uploads") == set(UploadOut.model_fields)


def test_the_parameters_of_a_search_are_named() -> None:
    assert named_in("### Finding") == {*(field.name for field in fields(Asked)), "limit", "cursor"}


def named_in(title: str) -> set[str]:
    """What the table of a section names first in its rows."""
    section = PAGE.read_text().partition(f"\n{title}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_code_of_a_failed_job_is_named() -> None:

    page = PAGE.read_text()
    assert [code for code in ErrorCode if f"`{code}`" not in page] == []
