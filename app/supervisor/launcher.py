"""Children in order: started one after the other, stopped the other way round, on the first signal gently.

The launcher has one thread. Signals, deaths and clocks all arrive in its event loop.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from app.supervisor.child import Child, Program

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTICE_EVERY_S = 15.0
FORCED = 130  # what a shell reports of a program that an interrupt has ended


class AskedToStop(Exception):
    """A signal asked for the end while something was waited for."""


class Launcher:
    """An asynchronous context: on leaving it, whatever the reason, every child has ended.

    `say` is told, in one line each, what a person should know.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Start nothing yet."""
        self.exit_status = 0
        """What the launcher should exit with: not 0 if a child had to be killed."""
        self._tell = say
        self._children: list[Child] = []
        self._keeping: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Listen to signals."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGCHLD, self._on_death)
        return self

    def say(self, text: str) -> None:
        """Tell a person, if there is still one: a terminal that was closed must not stop an orderly end."""
        with suppress(OSError):
            self._tell(text)

    async def start(self, *programs: Program) -> None:
        """Start programs side by side and wait until all are ready.

        Raises: ChildFailed if one dies before; AskedToStop.
        """
        began = time.monotonic()
        children = [Child(program, self.say) for program in programs]
        self._children += children
        for child in children:
            self._keeping.add(asyncio.create_task(child.keep(), name=child.program.name))

        async def ready(child: Child) -> None:
            while True:
                try:
                    await asyncio.wait_for(child.ready.wait(), NOTICE_EVERY_S)
                except TimeoutError:
                    self.say(f"still waiting for {child.program.name}; it writes to {child.program.log}")
                else:
                    self.say(f"{child.program.name} is ready ({time.monotonic() - began:.1f} s)")
                    return

        async def all_ready() -> None:
            await asyncio.gather(*map(ready, children))

        await self._first(all_ready())

    async def until_asked_to_stop(self) -> None:
        """Wait for the signal that ends it all."""
        await self._first(self._asked.wait())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End the children, the last started first.  Being asked to stop is no error."""
        for child in self._children:
            child.no_more_starts()
        for child in reversed(self._children):
            if not await child.stop():
                self.exit_status = 1
                program = child.program
                self.say(f"{program.name} did not end within {program.stop_within_s:g} s and was killed")
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        return isinstance(error, AskedToStop)

    async def _first(self, goal: Coroutine[Any, Any, object]) -> None:
        """Wait for the goal, unless a child cannot be kept or a signal comes first."""
        reached = asyncio.create_task(goal)
        asked = asyncio.create_task(self._asked.wait())
        done, _ = await asyncio.wait({reached, asked, *self._keeping}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        asked.cancel()
        for ended in done - {asked}:
            ended.result()
        if asked in done:
            raise AskedToStop

    def _on_stop_signal(self) -> None:
        if self._asked.is_set():
            self.exit_status = FORCED
            for child in self._children:
                child.kill()
            return
        self._asked.set()
        self.say("stopping; what is being made is finished or given back (once more to stop at once)")

    def _on_death(self) -> None:
        for child in self._children:
            child.reap()
