"""The page about the API is right: its examples run as they stand, and its tables name every field and default."""

import importlib.util
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import ErrorCode
from app.jobs.settings import Settings
from app.jobs.spec import TASKS, Wish
from app.jobs.storage import open_storage
from app.jobs.store import Store, open_store
from app.main import create_app
from app.routes.finding import Asked
from app.schemas import UploadOut
from tests.app.pictures import mask, photo
from tests.e2e.tiny_model import save_tiny_enlarger, save_tiny_model
from tests.servers import Proxy
from tests.worker.conftest import wait_until
from worker import studio
from worker.consumer import Consumer
from worker.studio import Studio

PAGE = Path(__file__).parents[2] / "docs" / "API.md"
CLIENT = PAGE.parent / "examples" / "client.py"
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
    clients = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert "/v1" in clients
    assert "/sdapi/v1" in clients
    clients = clients.replace("http://127.0.0.1:7860", url)
    done = subprocess.run([sys.executable, "-c", clients], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "image_generation.completed" in done.stdout
    jobs = httpx2.get(f"{url}/api/v1/jobs?limit=100").json()["items"]
    assert {job["task"] for job in jobs} == {kind.model_fields["task"].annotation.__args__[0] for kind in KINDS}
    for job in jobs:
        done_job = httpx2.get(f"{url}{job['links']['self']}?wait=60&until=done", timeout=70).json()
        assert done_job["state"] in ("succeeded", "cancelled"), done_job["error"]


def test_the_example_client_does_every_task(url: str, tmp_path: Path) -> None:
    client = load_client()
    darkroom = client.Darkroom(url)
    picture, marked = darkroom.upload(photo(96, 64)), darkroom.upload(mask(96, 64))
    wishes: dict[str, dict[str, Any]] = {
        "text_to_image": {},
        "image_to_image": {"image": picture},
        "inpaint": {"image": picture, "mask": marked},
        "super_resolution": {"image": picture, "scale": 2},
    }
    assert set(wishes) == set(TASKS)
    for task, wish in wishes.items():
        (data,) = darkroom.develop(task, prompt="a fox", steps=2, **wish)
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
    with pytest.raises(client.Problem, match="steps must be at most") as refused:
        darkroom.submit("text_to_image", prompt="a fox", steps=5000)
    assert refused.value.errors[0]["pointer"] == "#/steps"

    command = [sys.executable, CLIENT, "--at", url, "--steps", "2", "a fox", str(tmp_path / "fox.png")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "step 2 of 2" in said
    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_client_comes_again_when_it_is_told_to_and_sends_a_lost_job_once(
    settings: Settings, store: Store, entry: CatalogueEntry, make_proxy: Callable[[int], Proxy]
) -> None:
    store.register_model("worker-1", entry)
    client = load_client()
    client.LOST_S = 0.05
    with served(settings.model_copy(update={"max_queued_jobs": 1})) as url:
        proxy = make_proxy(int(url.rpartition(":")[2]))
        proxy.loses_answer_to = b"/api/v1/jobs"
        darkroom = client.Darkroom(f"http://127.0.0.1:{proxy.port}")
        job = darkroom.submit("text_to_image", prompt="a fox")
        assert [each.id for each in store.jobs("local").items] == [job["id"]]

        client.PATIENCE_S = 5.0
        with pytest.raises(client.Problem) as full:
            darkroom.submit("text_to_image", prompt="a fox")
        assert (full.value.status, full.value.retry_after_s) == (503, 30.0)


def load_client() -> Any:
    """The example, as a module of its own."""
    spec = importlib.util.spec_from_file_location("example_client", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks itself up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
