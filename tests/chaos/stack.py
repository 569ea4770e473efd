"""The real stack under the real launcher: Valkey, API and workers as processes, and where to hit them."""

import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.jobs.settings import Settings
from app.jobs.store import Store, migrate, open_store
from app.supervisor import programs
from app.supervisor.child import Program
from app.supervisor.launcher import Launcher
from app.supervisor.preflight import listen
from tests.chaos.child import TIDY_VARIABLE
from tests.chaos.hooks import Hooks
from tests.chaos.plan import ENTRY, Scale

WORKERS = ("worker-0", "worker-1")


@dataclass
class Stack:
    """Every process of the service; each is known by its name, and started again by the launcher when it dies."""

    folder: Path
    scale: Scale
    seed: int
    kills: list[str] = field(default_factory=list)
    """Who was killed by us, in order."""
    _ready: dict[str, tuple[int, float]] = field(default_factory=dict)
    """The process of each name, and since when it has been ready."""
    _stopped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make the folders; nothing runs yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(data_dir=self.folder / "data", shutdown_s=10, max_backoff_s=4, **self.scale.waits)
        self.full_while = self.folder / "full"
        (self.folder / "entry.json").write_text(ENTRY.model_dump_json())
        self.listener: socket.socket = listen("127.0.0.1", _free_port(), lambda text: None)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def files(self) -> Path:
        """Where the pictures are."""
        return self.settings.data_dir / "files"

    def said_by(self, name: str) -> str:
        """The log of a process, over all of its lives."""
        log = self.settings.data_dir / "logs" / f"{name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    async def start(self, launcher: Launcher) -> None:
        """Start everything and wait until it is ready."""
        await launcher.start(self._watched(programs.valkey(self.settings)))
        migrate(self.settings)
        store = open_store(self.settings)
        await launcher.start(*(self._worker(name, store) for name in WORKERS), self._api())

    def ready_since(self, name: str) -> float | None:
        """When the process that has this name now became ready, by the monotonic clock; None while it is not."""
        process_id, since = self._ready.get(name, (0, 0.0))
        return since if process_id and _is_alive(process_id) else None

    def process_id(self, name: str) -> int:
        """The process that has this name now."""
        return self._ready[name][0]

    def kill(self, name: str) -> bool:
        """SIGKILL; False if there is no such process just now, or it sleeps."""
        if self.ready_since(name) is None or name in self._stopped:
            return False
        process_id, _ = self._ready.pop(name)
        os.kill(process_id, signal.SIGKILL)
        self.kills.append(name)
        return True

    def freeze(self, name: str) -> bool:
        """SIGSTOP in the middle of a job; False if there is no such process just now, or it has none, or sleeps."""
        last_word = self.said_by(name).splitlines()[-1:]
        if self.ready_since(name) is None or name in self._stopped or '"job.claimed"' not in "".join(last_word):
            return False
        os.kill(self._ready[name][0], signal.SIGSTOP)
        self._stopped.add(name)
        return True

    def thaw(self, name: str) -> None:
        """SIGCONT; nobody has killed it meanwhile."""
        os.kill(self._ready[name][0], signal.SIGCONT)
        self._stopped.discard(name)

    def flush(self) -> bool:
        """FLUSHALL; False if Redis is away."""
        redis = Redis.from_url(self.settings.resolved_redis_url)
        with suppress(RedisError):
            return bool(redis.flushall())
        return False

    def fill_disk(self) -> None:
        """From now on nothing can be written."""
        self.full_while.touch()

    def relieve_disk(self) -> None:
        """There is room again."""
        self.full_while.unlink(missing_ok=True)

    def _worker(self, name: str, store: Store) -> Program:
        hooks = Hooks(dropped_rings=self.scale.dropped_rings, seed=self.seed, full_while=str(self.full_while))
        return self._watched(
            replace(
                programs.worker(self.settings, store),
                name=name,
                log=self.settings.data_dir / "logs" / f"{name}.log",
                command=self._command("worker", self.folder / "entry.json", self.scale.step_s),
                environment=self._environment() | hooks.for_child() | {TIDY_VARIABLE: str(self.scale.tidy_s)},
            )
        )

    def _api(self) -> Program:
        hooks = Hooks(dropped_rings=self.scale.dropped_rings, seed=self.seed + 1, full_while=str(self.full_while))
        program = programs.api(self.settings, self.listener)
        return self._watched(
            replace(
                program,
                command=self._command("api", self.listener.fileno()),
                environment={**self._environment(), **program.environment, **hooks.for_child()},
            )
        )

    def _command(self, *arguments: object) -> Sequence[str]:
        return [sys.executable, "-m", "tests.chaos.child", *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        said = self.settings.model_dump(exclude_unset=True)
        return {f"DARKROOM_{name.upper()}": str(value) for name, value in said.items() if value is not None}

    def _watched(self, program: Program) -> Program:
        """The program, whose processes are known here as soon as they are ready."""
        is_ready: Callable[[int], Awaitable[bool]] = program.is_ready

        async def and_known(process_id: int) -> bool:
            is_there = await is_ready(process_id)
            if is_there:
                self._ready[program.name] = (process_id, time.monotonic())
            return is_there

        return replace(program, is_ready=and_known)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
