"""The whole service as `darkroom up` starts it, in a data folder of its own, with a model of the smallest size."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.jobs.settings import PREFIX
from tests.e2e.tiny_model import save_tiny_enlarger, save_tiny_model

MODEL, ENLARGER = "tiny", "tiny-x4"
PATIENCE_S = 180  # a loaded machine is slow, not wrong
POLL_S = 0.05


COMMAND = (sys.executable, "-m", "app.cli", "up")


def environment_of(data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What the process is given: nothing of the developer's own service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**clean, **settings, "DARKROOM_DATA_DIR": str(data_dir)}


class Up:
    """A running `darkroom up`, and what can be seen of it from outside."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        """Start it with these settings."""
        self.data_dir = data_dir
        self.output = data_dir.parent / f"{data_dir.name}.output"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                COMMAND,
                env=environment_of(data_dir, settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Everything on its terminal so far."""
        return self.output.read_text()

    @property
    def url(self) -> str:
        """Where it says it is."""
        return re.findall(r"Darkroom is at (\S+)", self.said)[-1]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what must come; fails at once if the launcher ends before."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None and not condition():
                pytest.fail(f"{what}: not before `darkroom up` ended with {self.process.returncode}:\n{self.said}")
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {PATIENCE_S} s:\n{self.said}")
            time.sleep(POLL_S)

    def until_ready(self) -> "Up":
        """Wait until it has said where it is."""
        self.until(lambda: "Darkroom is at" in self.said, "the URL")
        return self

    def exit_code(self) -> int:
        """Wait for its end."""
        return self.process.wait(PATIENCE_S)

    def interrupt(self) -> int:
        """Ctrl-C once.  Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.exit_code()

    def children(self) -> dict[str, int]:
        """The process ids of everything living that works on this data folder, the launcher left out."""
        # Valkey writes its title over its environment, and the title names its socket.
        marks = f"DARKROOM_DATA_DIR={self.data_dir}\0".encode(), f"unixsocket:{self.data_dir}/".encode()
        roles = {b"valkey-server": "valkey", b"worker": "worker", b"api": "api"}
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                known_by = (entry / "environ").read_bytes() + command
                if entry.name != str(self.process.pid) and any(mark in known_by for mark in marks):
                    role = next((name for word, name in roles.items() if word in command), "nobody")
                    found[role] = int(entry.name)
        return found

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.process.kill()
        self.process.wait()
        for process_id in self.children().values():
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    # What a client does

    def submit(self, **wish: object) -> dict[str, Any]:
        """Ask for a picture; returns the job."""
        body = {"task": "text_to_image", "prompt": "a red ball", **wish}
        response = httpx2.post(f"{self.url}/api/v1/jobs", json=body, timeout=30)
        assert response.status_code == 202, response.text
        assert response.headers["Location"] == response.json()["links"]["self"]
        return dict(response.json())

    def job(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The job as it is now."""
        response = httpx2.get(self.url + job["links"]["self"], timeout=30)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def until_job(
        self, job: Mapping[str, Any], condition: Callable[[dict[str, Any]], bool], what: str
    ) -> dict[str, Any]:
        """Wait until the job fulfils the condition; returns it then."""
        self.until(lambda: condition(self.job(job)), f"{what}, of job {json.dumps(self.job(job))}")
        return self.job(job)

    def result(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until the job has ended."""
        return self.until_job(job, lambda now: now["finished_at"] is not None, "an end")


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the smallest models there are: one that paints, one that enlarges."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny_model(folder / MODEL)
    save_tiny_enlarger(folder / ENLARGER)
    return folder


@pytest.fixture(scope="session")
def environment(models_dir: Path) -> dict[str, str]:
    """The settings of every service here: the smallest model, short waits."""
    return {
        "DARKROOM_MODELS_DIR": str(models_dir),
        "DARKROOM_DEFAULT_MODEL": MODEL,
        "DARKROOM_LEASE_S": "6",
        "DARKROOM_BEAT_S": "1",
        "DARKROOM_SWEEP_S": "1",
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Up]]:
    """Starts services; each gets an own data folder unless it names one."""
    started: list[Up] = []

    def up(data_dir: Path | None = None, **more: str) -> Up:
        started.append(Up(data_dir or tmp_path / f"data{len(started)}", {**environment, **more}))
        return started[-1]

    yield up
    for each in started:
        each.end()


@pytest.fixture
def refused(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """Starts a service that must not come up; returns what it said after it ended with exit code 1."""

    def run(data_dir: Path | None = None, **more: str) -> str:
        given = environment_of(data_dir or tmp_path / "data", {**environment, **more})
        done = subprocess.run(COMMAND, env=given, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 1, done
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def service(environment: dict[str, str]) -> Iterator[Up]:
    """A service that is ready, for all tests that leave it working: starting one takes longer than most of them."""
    # pytest's own folders are so deep that the socket would not lie in the data folder, as it does for people.
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    up = Up(folder / "data", environment)
    yield up.until_ready()
    up.end()
    shutil.rmtree(folder)
