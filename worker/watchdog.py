"""The end of a process whose device hangs: a stuck call has no cure inside the process."""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog

from worker.engine import STEPS_OF_SILENCE, Engine

log = structlog.get_logger()

EXIT_HUNG = 70
"""The exit status of a worker that ended itself; its supervisor starts it again."""


LOADING_S = 600.0
"""As long may a model take that is brought into memory."""


class Watchdog:
    """Ends the process when the engine is busy and gives no sign of life for too long.

    Too long is `floor_s`, or twenty of the slowest steps seen where that is more, or `LOADING_S` while a model is
    brought in. It is counted in looks, not read from a clock: a process that was stopped and continued finds the clock
    far ahead, and nothing wrong.
    """

    def __init__(
        self, engine: Engine, look_s: float, floor_s: float = 60.0, end: Callable[[int], object] = os._exit
    ) -> None:
        """Watch `engine`, whose `look` is called every `look_s` seconds."""
        self._engine = engine
        self._look_s = look_s
        self._floor_s = floor_s
        self._end = end
        self._signs = -1
        self._silent_looks = 0

    def look(self) -> None:
        """Compare with the last look."""
        signs = self._engine.signs_of_life
        is_silent = self._engine.is_busy and signs == self._signs
        self._silent_looks = self._silent_looks + 1 if is_silent else 0
        self._signs = signs
        silence_s = self._silent_looks * self._look_s
        floor_s = max(self._floor_s, LOADING_S) if self._engine.is_loading else self._floor_s
        if silence_s > max(floor_s, STEPS_OF_SILENCE * self._engine.slowest_step_s):
            log.critical("worker.hung", silence_s=silence_s, slowest_step_s=self._engine.slowest_step_s)
            self._end(EXIT_HUNG)
