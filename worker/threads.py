"""The two kinds of thread beside the engine's: one that does things in order, one that does a thing now and then.

Both are daemons, and neither ends because of what it was given to do: an error is logged, and the thread goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import structlog
from redis.exceptions import RedisError

from app.jobs.failures import JobsError

log = structlog.get_logger()

# Whatever a service stands on may be away for a while: worth a line, not a stack trace.
EXPECTED = (JobsError, RedisError, OSError)

# A lease outlasts a few beats: one that failed is made up for, not waited for.
RETRY_S = 1.0


def has_ended(thread: threading.Thread, timeout_s: float) -> bool:
    """Whether `thread` has ended, or does within `timeout_s`; one that was never started has."""
    if thread.is_alive():
        thread.join(timeout_s)
    return not thread.is_alive()


class Desk:
    """A thread that runs what it is given, one after the other, in the order in which it was given."""

    def __init__(self, name: str) -> None:
        """Prepare; what is given before `start` waits."""
        self._name = name
        self._inbox: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def do(self, task: Callable[[], object]) -> None:
        """Run `task` after what was given before it."""
        self._inbox.put(task)

    def stop(self, timeout_s: float) -> bool:
        """End when everything given so far is done; False if that takes longer than `timeout_s`."""
        self._inbox.put(None)
        return has_ended(self._thread, timeout_s)

    def _run(self) -> None:
        while (task := self._inbox.get()) is not None:
            try:
                task()
            except Exception:
                log.exception("desk.failed", desk=self._name)


class Ticker:
    """A thread that calls `action` at once and then every `interval_s`; sooner when woken, or after an error."""

    def __init__(self, name: str, interval_s: float, action: Callable[[], object]) -> None:
        """Prepare; nothing runs before `start`."""
        self._name = name
        self._interval_s = interval_s
        self._action = action
        self._woken = threading.Event()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def wake(self) -> None:
        """Tick now rather than at the end of the interval."""
        self._woken.set()

    def stop(self, timeout_s: float) -> bool:
        """Tick no more; False if a tick under way takes longer than `timeout_s`."""
        self._is_stopped = True
        self._woken.set()
        return has_ended(self._thread, timeout_s)

    def _run(self) -> None:
        while not self._is_stopped:
            self._woken.clear()
            pause_s = min(self._interval_s, RETRY_S)
            try:
                self._action()
                pause_s = self._interval_s
            except EXPECTED as error:
                log.warning("ticker.failed", ticker=self._name, error=str(error))
            except Exception:
                log.exception("ticker.failed", ticker=self._name)
            # Looked at again: a stop during the action must not wait for the interval.
            if not self._is_stopped:
                self._woken.wait(pause_s)
