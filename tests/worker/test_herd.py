"""One worker for each device under one parent: signals reach all, the fallen rise again, a refusal ends all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.conftest import PATIENCE_S, wait_until
from worker.herd import BadDevices, devices_of

SCRIPT = Path(__file__).with_name("run_herd.py")


class Keeper:
    """A herd in a process of its own."""

    def __init__(self, folder: Path, **fates: list[str]) -> None:
        self._diary = folder / "diary"
        self._diary.touch()
        said = json.dumps({f"cuda:{name.removeprefix('gpu')}": words for name, words in fates.items()})
        self.popen = subprocess.Popen([sys.executable, SCRIPT, self._diary, said], stderr=subprocess.DEVNULL)

    def diary(self) -> list[str]:
        return self._diary.read_text().splitlines()

    def wait_for(self, *events: str) -> None:
        wait_until(lambda: all(self.diary().count(event) >= events.count(event) for event in events), f"{events}")

    def status(self) -> int:
        return self.popen.wait(PATIENCE_S)


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Keeper]]:
    """Starts a herd; what is left of it dies with the test."""
    keepers: list[Keeper] = []

    def start(**fates: list[str]) -> Keeper:
        keepers.append(Keeper(tmp_path, **fates))
        return keepers[-1]

    yield start
    for keeper in keepers:
        keeper.popen.kill()
        keeper.popen.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_worker_once_and_in_peace(keep: Callable[..., Keeper], number: signal.Signals) -> None:
    keeper = keep(gpu0=["stays"], gpu1=["stays"])
    keeper.wait_for("cuda:0 begins", "cuda:1 begins")
    keeper.popen.send_signal(number)
    assert keeper.status() == 0
    assert sorted(keeper.diary()) == ["cuda:0 SIGTERM", "cuda:0 begins", "cuda:1 SIGTERM", "cuda:1 begins"]


def test_a_second_signal_is_passed_on_to_those_that_take_their_time(keep: Callable[..., Keeper]) -> None:
    keeper = keep(gpu0=["lingers"])
    keeper.wait_for("cuda:0 begins")
    keeper.popen.send_signal(signal.SIGTERM)
    keeper.wait_for("cuda:0 SIGTERM")
    assert keeper.popen.poll() is None
    keeper.popen.send_signal(signal.SIGTERM)
    assert keeper.status() == 0
    assert keeper.diary().count("cuda:0 SIGTERM") == 2


@pytest.mark.parametrize("fate", ["crashes 70", "crashes 1", "dies"])
def test_a_worker_that_falls_is_started_again_and_the_other_is_left_alone(
    keep: Callable[..., Keeper], fate: str
) -> None:
    keeper = keep(gpu0=[fate, fate, "stays"], gpu1=["stays"])
    keeper.wait_for("cuda:1 begins", *["cuda:0 begins"] * 3)
    keeper.popen.terminate()
    assert keeper.status() == 0
    assert keeper.diary().count("cuda:1 begins") == 1


def test_a_worker_with_nothing_to_work_with_ends_all(keep: Callable[..., Keeper]) -> None:
    keeper = keep(gpu0=["stays"], gpu1=["crashes 2"])
    assert keeper.status() == 2
    assert keeper.diary().count("cuda:1 begins") == 1


def test_a_worker_that_ends_in_peace_is_not_started_again(keep: Callable[..., Keeper]) -> None:
    keeper = keep(gpu0=["crashes 0"], gpu1=["crashes 0"])
    assert keeper.status() == 0
    assert len(keeper.diary()) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux kills the children of the dead")
def test_no_worker_outlives_a_parent_that_is_killed(keep: Callable[..., Keeper]) -> None:
    keeper = keep(gpu0=["stays"])
    keeper.wait_for("cuda:0 begins")
    children = Path(f"/proc/{keeper.popen.pid}/task/{keeper.popen.pid}/children").read_text().split()
    assert len(children) == 1
    keeper.popen.kill()
    keeper.popen.wait()
    wait_until(lambda: not is_alive(int(children[0])), "the end of the child")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_auto_is_every_gpu_or_else_the_cpu() -> None:
    assert devices_of("auto", lambda: 2) == ["cuda:0", "cuda:1"]
    assert devices_of("auto", lambda: 0) == ["cpu"]
    assert devices_of("cuda:1, cuda:3", lambda: 0) == ["cuda:1", "cuda:3"]


@pytest.mark.parametrize("words", ["", "gpu", "cuda:0,cuda:0", "cuda:0,,cuda:1", "cuda:x", "auto,cpu"])
def test_a_list_that_makes_no_sense_is_refused(words: str) -> None:
    with pytest.raises(BadDevices, match="--devices must be"):
        devices_of(words, lambda: 0)


def test_the_command_refuses_such_a_list_in_one_sentence() -> None:
    command = [sys.executable, "-m", "worker", "--devices", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("darkroom-worker: --devices must be auto")
