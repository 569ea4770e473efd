"""One child process: started, waited for until it is ready, started again when it dies, stopped in its turn.

Its output goes straight to a file, with no pipe in between: a launcher that is paused never blocks a child
on a full pipe, and the last words of a killed child are never lost.
"""

import asyncio
import ctypes
import math
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.supervisor.errors import ChildFailed

POLL_S = 0.1
FIRST_BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 30.0
LOG_BYTES = 16 * 1024 * 1024
LAST_LINES = 8

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it is ready."""

    name: str
    command: Sequence[str]
    log: Path
    is_ready: Callable[[int], Awaitable[bool]]  # is given the process id
    stop_within_s: float
    environment: Mapping[str, str] = field(default_factory=dict)  # beside the launcher's own
    pass_fds: Sequence[int] = ()


@dataclass
class Child:
    """Keeps one program running.  `say` is told, in one line each, what a person should know."""

    program: Program
    say: Callable[[str], None]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: subprocess.Popen[bytes] | None = None
    _exited: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _born_at: int = 0  # where in the log this life begins

    async def keep(self) -> None:
        """Run the program until `stop`; start it again whenever it dies.

        Raises: ChildFailed if it dies before it was ready for the first time.
        """
        failures = 0
        while not self._stopping:
            was_ready = await self._live()
            failures = 0 if was_ready else failures + 1
            await self._mourn(was_ready, back_off_s(failures))

    async def stop(self) -> bool:
        """Ask the program to end, and kill it when its time is over.  Returns whether it ended by itself."""
        self.no_more_starts()
        if self._process is None or self._exited.is_set():
            return True
        self._process.terminate()
        try:
            await asyncio.wait_for(self._exited.wait(), self.program.stop_within_s)
        except TimeoutError:
            self.kill()
            await self._exited.wait()
            return False
        return True

    def no_more_starts(self) -> None:
        """From now on a death is final."""
        self._stopping = True

    def kill(self) -> None:
        """End the program at once."""
        self.no_more_starts()
        if self._process is not None:
            self._process.kill()

    def reap(self) -> None:
        """Look whether the program has ended; to be called after every SIGCHLD."""
        if self._process is not None and self._process.poll() is not None:
            self._exited.set()

    def _start(self) -> int:
        self._exited.clear()
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.program.log.stat().st_size > LOG_BYTES:
                self.program.log.replace(self.program.log.with_suffix(".log.1"))
        with self.program.log.open("ab") as log:
            self._born_at = log.tell()
            self._process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.program.environment},
                pass_fds=self.program.pass_fds,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which forwards it in order
                preexec_fn=_die_with(os.getpid()),
            )
        return self._process.pid

    async def _live(self) -> bool:
        """Start the program and wait until it ends.  Returns whether it had become ready."""
        process_id = self._start()
        while not self._exited.is_set():
            if await self.program.is_ready(process_id):
                if self.ready.is_set():
                    self.say(f"{self.program.name} is ready again")
                self.ready.set()
                await self._exited.wait()
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _mourn(self, was_ready: bool, pause_s: float) -> None:
        if self._stopping:
            return
        if not was_ready and not self.ready.is_set():
            raise ChildFailed(f"{self._obituary()} before it was ready.{self._last_lines()}")
        self.say(f"{self._obituary()}; starting it again in {pause_s:g} s.{self._last_lines()}")
        await asyncio.sleep(pause_s)

    def _obituary(self) -> str:
        assert self._process is not None
        return f"{self.program.name} {how_it_ended(self._process.returncode)}"

    def _last_lines(self) -> str:
        with self.program.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._born_at)
            lines = deque(log, maxlen=LAST_LINES)
        if not lines:
            return f" It said nothing in {self.program.log}."
        return f" The end of {self.program.log}:\n" + "".join(f"    {line}" for line in lines).rstrip()


def back_off_s(failures: int) -> float:
    """How long to wait before a start that follows `failures` starts in a row which never became ready."""
    return min(math.ldexp(FIRST_BACK_OFF_S, min(failures, 32)), LONGEST_BACK_OFF_S)


def how_it_ended(returncode: int) -> str:
    """An exit status as a person reads it."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    return f"was killed by {signal.Signals(-returncode).name}"


def _die_with(launcher: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask the kernel to kill it when the launcher dies.

    The signal is tied to the thread that forked, so children are started from the main thread alone; and
    since the launcher has no other thread, running Python between fork and exec is safe here.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        if prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != launcher:  # it died in between, and no signal will come any more
            os._exit(1)

    return tie
