"""The service as it runs: Valkey, API and worker, each a process of its own, in a folder that is gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from app.jobs.settings import PREFIX, Settings
from app.jobs.store import Store, migrate, open_store
from app.supervisor import programs
from bench.sleeper import ENTRY

PATIENCE_S = 120.0

WORKER = (sys.executable, "-m", "worker")
"""The worker with the models that are bundled."""


def sleeper(folder: Path, step_s: float = 0.0) -> Sequence[str]:
    """The command of a worker whose model does nothing but sleep so long for each step."""
    entry = folder / "sleeper.json"
    entry.write_text(ENTRY.model_dump_json())
    return (sys.executable, "-m", "bench.sleeper", str(entry), str(step_s))


@dataclass(frozen=True, slots=True)
class Stack:
    """A running service."""

    url: str
    settings: Settings
    store: Store
    api_id: int
    worker_id: int

    def submit(self, client: httpx2.Client, wish: Mapping[str, object]) -> str:
        """Queue a job; returns its id."""
        response = client.post(f"{self.url}/api/v1/jobs", json=wish)
        response.raise_for_status()
        return str(response.json()["id"])

    def result(self, client: httpx2.Client, job_id: str) -> dict[str, Any]:
        """The job once it has succeeded.  Raises: RuntimeError if it ended otherwise."""
        while True:
            job: dict[str, Any] = client.get(
                f"{self.url}/api/v1/jobs/{job_id}", params={"wait": 60, "until": "done"}
            ).json()
            if job["state"] == "succeeded":
                return job
            if job["finished_at"] is not None:
                raise RuntimeError(f"the job has {job['state']}: {job['error']}")


@contextmanager
def stack(
    worker: Callable[[Path], Sequence[str]] | None = lambda folder: WORKER, **environment: str
) -> Iterator[Stack]:
    """A service that is ready, with the worker of this command if there is one; every process has ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    settings = Settings(data_dir=folder / "data")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = clean | {f"{PREFIX}DATA_DIR": str(settings.data_dir)} | environment
    migrate(settings)
    store = open_store(settings)
    try:
        with ExitStack() as running, _listener() as listener:

            def start(name: str, command: Sequence[str], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
                return running.enter_context(_child(command, folder / f"{name}.log", given, pass_fds))

            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            start("valkey", programs.valkey(settings).command)
            api = start("api", programs.api(settings, listener).command, [listener.fileno()])
            _until(lambda: httpx2.get(f"{url}/healthz", timeout=60).status_code == 200, api, folder / "api.log")
            working = api
            if worker is not None:
                working = start("worker", worker(folder))
                _until(lambda: bool(store.workers_alive()), working, folder / "worker.log")
            yield Stack(url, settings, store, api.pid, working.pid)
    finally:
        store.close()
        shutil.rmtree(folder)


@contextmanager
def valkey(settings: Settings) -> Iterator[None]:
    """A Valkey where the settings look for it, for a service inside this process."""
    log = settings.data_dir / "valkey.log"
    with _child(programs.valkey(settings).command, log, os.environ) as child:
        _until(settings.socket_path.exists, child, log)
        yield


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _child(
    command: Sequence[str], log: Path, environment: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env=dict(environment), pass_fds=pass_fds)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _until(is_so: Callable[[], bool], child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{log.name} says: {log.read_text()[-2000:]}")
        time.sleep(0.1)
