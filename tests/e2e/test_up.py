"""`darkroom up` with nothing replaced: Valkey, SQLite, a worker with real networks, the API."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from models import bundled_models
from tests.e2e.conftest import Up

PNG = b"\x89PNG\r\n\x1a\n"

Start = Callable[..., Up]


def listening_ports(process_id: int) -> set[int]:
    """The TCP ports that a process listens on."""
    sockets = {os.readlink(entry) for entry in Path(f"/proc/{process_id}/fd").iterdir()}
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process_id}/net/{table}").read_text().splitlines()[1:]:
            address, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == "0A" and f"socket:[{inode}]" in sockets:
                ports.add(int(address.split(":")[1], 16))
    return ports


def test_a_prompt_becomes_a_picture(service: Up) -> None:
    job = service.submit(prompt="a red ball on a table", seed=7, num_images=2)
    done = service.result(job)
    assert done["state"] == "succeeded", done
    assert [image["seed"] for image in done["images"]] == [7, 8]
    for image in done["images"]:
        content = httpx2.get(service.url + image["url"]).content
        assert content.startswith(PNG)
        assert hashlib.sha256(content).hexdigest() == image["sha256"]


def test_the_first_example_on_the_terminal_works_as_it_stands(service: Up) -> None:
    command = service.said.partition("Darkroom is at")[2].partition("Pictures and logs")[0]
    url, wish = command.split("-d ")[0], command.split("-d ")[1].strip().strip("'")
    assert f"curl -X POST {service.url}/api/v1/jobs" in url
    response = httpx2.post(f"{service.url}/api/v1/jobs", content=wish, headers={"Content-Type": "application/json"})
    assert response.status_code == 202


def test_only_the_api_has_a_port(service: Up) -> None:
    children = service.children()
    assert children.keys() == {"valkey", "worker", "api"}
    assert listening_ports(children["api"]) == {httpx2.URL(service.url).port}
    assert listening_ports(children["valkey"]) == set()
    assert listening_ports(children["worker"]) == set()


def test_the_data_folder_and_the_socket_are_the_users_own(service: Up) -> None:
    assert service.data_dir.stat().st_mode & 0o777 == 0o700
    assert (service.data_dir / "valkey.sock").stat().st_mode & 0o077 == 0


def test_a_second_launcher_on_the_same_data_folder_is_refused(service: Up, refused: Callable[..., str]) -> None:
    said = refused(service.data_dir)
    assert f"Another `darkroom up` (process {service.process.pid}) already uses {service.data_dir}" in said
    assert httpx2.get(f"{service.url}/healthz").status_code == 200


def test_an_explicit_port_that_is_taken_is_an_error(service: Up, refused: Callable[..., str]) -> None:
    port = str(httpx2.URL(service.url).port)
    said = refused(DARKROOM_PORT=port)
    assert f"DARKROOM_PORT: 127.0.0.1 port {port} cannot be had: Address already in use" in said


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("DARKROOM_HOST", "0.0.0.0", "DARKROOM_HOST must be a loopback address"),
        ("DARKROOM_PROT", "7861", "did you mean DARKROOM_PORT?"),
        ("DARKROOM_REDIS_URL", "redis://127.0.0.1:1/0", "DARKROOM_REDIS_URL: nothing usable answers"),
        ("DARKROOM_DEFAULT_MODEL", "nobody", "got 'nobody'"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(
    refused: Callable[..., str], variable: str, value: str, sentence: str
) -> None:
    said = refused(**{variable: value})
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_an_interrupted_job_is_given_back_and_runs_after_the_next_start(
    start: Start, tmp_path: Path, redis_url: str
) -> None:
    named = {
        "DARKROOM_REDIS_URL": redis_url,
        "DARKROOM_DATABASE_URL": f"sqlite:///{tmp_path}/rows.sqlite3",
        "DARKROOM_STORAGE_URL": (tmp_path / "pictures").as_uri(),
        "DARKROOM_SHUTDOWN_S": "1",
    }
    first = start(tmp_path / "data", **named).until_ready()
    assert first.children().keys() == {"worker", "api"}
    job = first.submit(steps=1000, num_images=16)
    first.until_job(job, lambda now: now["progress"]["step"] > 0, "a step")
    assert first.interrupt() == 0
    assert first.children() == {}
    assert "killed" not in first.said

    second = start(tmp_path / "data", **named)
    second.until(lambda: second.said.count("Darkroom is at") == 2, "the URL again")
    running = second.until_job(job, lambda now: now["state"] == "running" and now["progress"]["step"] > 0, "a step")
    assert running["error"] is None
    httpx2.post(second.url + job["links"]["cancel"])
    assert second.result(job)["state"] == "cancelled"
    short = second.result(second.submit(steps=2))
    assert short["state"] == "succeeded"
    assert any((tmp_path / "pictures").rglob("*.png"))
    assert not (tmp_path / "data" / "darkroom.sqlite3").exists()
    assert second.interrupt() == 0
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", httpx2.URL(second.url).port or 0))


def test_the_bundled_model_develops_at_its_own_size(start: Start) -> None:
    (name, *_) = bundled_models()
    up = start(DARKROOM_DEFAULT_MODEL=name).until_ready()
    done = up.result(up.submit())
    assert done["state"] == "succeeded", done
    assert done["params"]["model"] == name
    (image,) = done["images"]
    assert (image["width"], image["height"]) == (done["params"]["width"], done["params"]["height"])
    assert up.interrupt() == 0
