"""One worker process for each device, and the parent that keeps them: `darkroom-worker --devices auto`.

A worker that ends itself because its device hangs, or is killed, is started again, after a pause that grows while it
does not live long. One that ends in peace is not. Where there is nothing to work with (a setting, a model), no other
start would help: all of them end.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import structlog

log = structlog.get_logger()

EXIT_REFUSED = 2
ENVIRONMENT = "DARKROOM_DEVICE"

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# Whoever lived so long has not failed to start.
LONG_LIFE_S = 60.0
# How soon the parent notices a death or a signal.
LOOK_S = 0.2

_PR_SET_PDEATHSIG = 1
_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
_COUNT = "import torch; print(torch.cuda.device_count())"


class BadDevices(ValueError):
    """The list of devices makes no sense; the text says so, for people."""


def devices_of(words: str, count_gpus: Callable[[], int]) -> list[str]:
    """The devices that are meant: `auto` is every GPU, or the CPU where there is none. Raises: BadDevices."""
    if words == "auto":
        return [f"cuda:{index}" for index in range(count_gpus())] or ["cpu"]
    devices = [word.strip() for word in words.split(",")]
    if len(set(devices)) < len(devices) or not all(_DEVICE.fullmatch(device) for device in devices):
        raise BadDevices(f"--devices must be auto, or different ones of cpu, mps, cuda:0, cuda:1 ..., got {words!r}")
    return devices


def count_gpus() -> int:
    """How many GPUs CUDA shows. A process of its own asks: the parent stays small, and holds no GPU."""
    asked = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True)
    return int(asked.stdout)


class Herd:
    """The workers of one machine."""

    def __init__(self, devices: Sequence[str], command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Prepare one `command` for each device, which it finds in its environment."""
        self._sheep = [_Sheep(device, command, environment) for device in devices]
        self._stops = 0
        self._is_refused = False

    def keep(self) -> int:
        """Work until a signal, or until all have ended; 0, or what the worst of them ended with."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for sheep in self._sheep:
                sheep.start()
            while any(not sheep.is_done for sheep in self._sheep):
                for sheep in self._sheep:
                    sheep.ask_to_end(self._stops)
                    self._look_after(sheep)
                time.sleep(LOOK_S)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._is_refused:
            return EXIT_REFUSED
        return max(sheep.status for sheep in self._sheep)

    def _look_after(self, sheep: _Sheep) -> None:
        if not sheep.has_ended():
            return
        if sheep.status == EXIT_REFUSED and not self._is_refused:
            # It has said why.
            self._is_refused = True
            self._stops += 1
        if self._stops or sheep.status == 0:
            sheep.is_done = True
        else:
            sheep.start_when_due()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Asked twice, so are they: it leaves them no time to finish.
        self._stops += 1


class _Sheep:
    """One worker process after another, on one device."""

    def __init__(self, device: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._device = device
        self._command = list(command)
        self._environment = {**environment, ENVIRONMENT: device}
        self._process: subprocess.Popen[bytes] | None = None
        self._began_at = 0.0
        self._due_at: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._asked = 0
        self.is_done = False
        self.status = 0

    def start(self) -> None:
        self._due_at = None
        self._began_at = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which forwards it
            preexec_fn=_die_with(os.getpid()),
        )
        log.info("worker.started", device=self._device, pid=self._process.pid)

    def has_ended(self) -> bool:
        if self.is_done or self._process is None or (code := self._process.poll()) is None:
            return False
        # As a shell says it: killed by a signal is 128 and its number. Killed by ours before it could hear it is peace.
        was_asked = self._asked > 0 and code == -signal.SIGTERM
        self.status = 0 if was_asked else code if code >= 0 else 128 - code
        return True

    def start_when_due(self) -> None:
        now = time.monotonic()
        if self._due_at is None:
            if now - self._began_at > LONG_LIFE_S:
                self._pause_s = FIRST_PAUSE_S
            self._due_at = now + self._pause_s
            log.error("worker.ended", device=self._device, status=self.status, again_in_s=self._pause_s)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        elif now >= self._due_at:
            self.start()

    def ask_to_end(self, times: int) -> None:
        while self._asked < times:
            self._asked += 1
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask the kernel to kill it when the parent dies.

    The parent has no other thread, so running Python between fork and exec is safe.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            os._exit(1)

    return tie
