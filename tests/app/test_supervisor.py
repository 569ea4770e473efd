"""The launcher, with real processes and real signals; the children are stand-ins (household.py)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.supervisor.child import LOG_BYTES, LONGEST_BACK_OFF_S, back_off_s, how_it_ended
from tests.app.household import Behaviour

HOUSEHOLD = Path(__file__).with_name("household.py")
PATIENCE_S = 60  # of the tests: a loaded machine is slow, not wrong


class Household:
    """A running launcher, and what can be seen of it from outside."""

    def __init__(
        self, folder: Path, behaviour: dict[str, Behaviour], patience_s: float, terminal: int | None
    ) -> None:
        self.folder = folder
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HOUSEHOLD), str(folder), str(patience_s), json.dumps(behaviour)],
                stdout=output if terminal is None else terminal,
                stderr=output,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            is_in_time = time.monotonic() < deadline and (self.process.poll() is None or condition())
            assert is_in_time, f"waited in vain; the launcher said:\n{self.said}"
            time.sleep(0.02)

    def until_open(self) -> None:
        self.until(lambda: "open\n" in self.said)

    def process_id(self, name: str) -> int:
        return int((self.folder / f"{name}.ready").read_text())

    def living(self) -> list[int]:
        """Every process, other than the launcher, that was started for this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                is_of_this_house = os.fsencode(self.folder) in (entry / "cmdline").read_bytes()
                if is_of_this_house and entry.name != str(self.process.pid):
                    found.append(int(entry.name))
        return found

    def survivors(self) -> list[int]:
        """Who still lives some time after the launcher's end."""
        self.process.wait(PATIENCE_S)
        deadline = time.monotonic() + 5
        while self.living() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.living()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)


KeepHouse = Callable[..., Household]


@pytest.fixture
def keep_house(tmp_path: Path) -> Iterator[KeepHouse]:
    households: list[Household] = []

    def start(
        patience_s: float = 30, terminal: int | None = None, **behaviour: Behaviour
    ) -> Household:
        households.append(Household(tmp_path, behaviour, patience_s, terminal))
        return households[-1]

    yield start
    for household in households:
        for process_id in household.living():
            os.kill(process_id, signal.SIGKILL)
        household.process.kill()
        household.process.wait()


def test_children_start_in_order_and_end_in_the_opposite_order(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    assert household.diary[0] == "oven begins"
    assert sorted(household.diary[1:]) == ["cook begins", "waiter begins"]
    household.process.terminate()
    assert household.exit_code() == 0
    assert household.diary[3:] == ["waiter SIGTERM", "cook SIGTERM", "oven SIGTERM"]
    assert "again in" not in household.said
    assert household.living() == []


def test_an_interrupt_from_the_terminal_reaches_only_the_launcher(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    os.killpg(household.process.pid, signal.SIGINT)
    assert household.exit_code() == 0
    assert [line for line in household.diary if "SIGINT" in line] == []


def test_a_hangup_ends_everything_in_order_too(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    household.process.send_signal(signal.SIGHUP)
    assert household.exit_code() == 0
    assert household.diary[-1] == "oven SIGTERM"


def test_a_terminal_that_is_gone_does_not_disturb_the_order(keep_house: KeepHouse) -> None:
    reader, terminal = os.pipe()
    household = keep_house(terminal=terminal, patience_s=1, cook={"ignores": "SIGTERM"})
    os.close(terminal)
    said = b""
    while b"open\n" not in said:
        said += os.read(reader, 1000)
    os.close(reader)
    household.process.send_signal(signal.SIGHUP)
    household.exit_code()
    # That the cook had to be killed could be told to nobody; the oven has its turn all the same.
    assert household.diary[3:] == ["waiter SIGTERM", "cook SIGTERM", "oven SIGTERM"]


def test_a_stop_while_starting_is_a_stop(keep_house: KeepHouse) -> None:
    household = keep_house(cook={"first_life": "dawdles"})
    household.until(lambda: "cook begins" in household.diary)
    household.process.send_signal(signal.SIGINT)
    assert household.exit_code() == 0
    assert "open" not in household.said
    assert "Traceback" not in household.said
    assert household.living() == []


def test_a_child_that_dies_while_another_ends_is_not_started_again(keep_house: KeepHouse) -> None:
    household = keep_house(waiter={"lingers_s": 2})
    household.until_open()
    household.process.terminate()
    household.until(lambda: "waiter SIGTERM" in household.diary)
    os.kill(household.process_id("cook"), signal.SIGKILL)
    assert household.exit_code() == 0
    assert household.diary[-2:] == ["waiter leaves", "oven SIGTERM"]


def test_a_child_that_will_not_end_is_killed_when_its_time_is_over(keep_house: KeepHouse) -> None:
    household = keep_house(patience_s=1, cook={"ignores": "SIGTERM"})
    household.until_open()
    household.process.terminate()
    assert household.exit_code() == 1
    assert "cook did not end within 1 s" in household.said
    assert household.diary[-1] == "oven SIGTERM"
    assert household.living() == []


def test_a_second_interrupt_ends_everything_at_once(keep_house: KeepHouse) -> None:
    household = keep_house(waiter={"ignores": "SIGTERM"})
    household.until_open()
    household.process.send_signal(signal.SIGINT)
    household.until(lambda: "waiter SIGTERM" in household.diary)
    began = time.monotonic()
    household.process.send_signal(signal.SIGINT)
    assert household.exit_code() == 130
    assert time.monotonic() - began < 10  # and not the 30 s it may take to end
    assert "oven SIGTERM" not in household.diary
    assert household.living() == []


def test_one_interrupt_during_an_end_that_a_failure_began_hurries_nobody(keep_house: KeepHouse) -> None:
    household = keep_house(cook={"first_life": "dies"}, waiter={"lingers_s": 1})
    household.until(lambda: "waiter SIGTERM" in household.diary)
    household.process.send_signal(signal.SIGINT)
    assert household.exit_code() == 1
    assert household.diary[-2:] == ["waiter leaves", "oven SIGTERM"]


def test_a_killed_launcher_leaves_no_orphan(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    assert len(household.living()) == 3
    household.process.kill()
    assert household.survivors() == []


def test_a_killed_launcher_leaves_no_child_that_it_started_again(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    os.kill(household.process_id("cook"), signal.SIGKILL)
    household.until(lambda: "cook is ready again" in household.said)
    household.process.kill()
    assert household.survivors() == []


def test_a_child_that_dies_is_named_and_started_again_within_a_second(keep_house: KeepHouse) -> None:
    household = keep_house()
    household.until_open()
    os.kill(household.process_id("cook"), signal.SIGKILL)
    household.until(lambda: household.diary.count("cook begins") == 2)
    assert "cook was killed by SIGKILL; starting it again in 0.5 s" in household.said
    household.until(lambda: "cook is ready again" in household.said)
    household.process.terminate()
    assert household.exit_code() == 0
    assert household.diary[-3:] == ["waiter SIGTERM", "cook SIGTERM", "oven SIGTERM"]


def test_a_child_that_crashes_again_and_again_comes_back_each_time(keep_house: KeepHouse) -> None:
    household = keep_house(cook={"first_life": "crashes", "later_lives": "crashes"})
    message = "cook ended with exit code 4; starting it again in 0.5 s"
    household.until(lambda: household.said.count(message) == 3)


def test_a_child_that_no_longer_becomes_ready_is_started_ever_more_slowly(keep_house: KeepHouse) -> None:
    household = keep_house(cook={"first_life": "crashes", "later_lives": "dies"})
    household.until(lambda: "starting it again in 2 s" in household.said)
    assert re.findall(r"exit code (\d); starting it again in ([\d.]+) s", household.said) == [
        ("4", "0.5"),
        ("3", "1"),
        ("3", "2"),
    ]
    assert "cook has no flour" in household.said
    household.process.terminate()
    assert household.exit_code() == 0


def test_a_child_that_was_never_ready_ends_everything_with_its_last_words(keep_house: KeepHouse) -> None:
    household = keep_house(cook={"first_life": "dies"})
    assert household.exit_code() == 1
    assert "cook ended with exit code 3 before it was ready" in household.said
    assert "cook has no flour" in household.said
    assert "open\n" not in household.said
    assert "Traceback" not in household.said
    assert household.diary[-1] == "oven SIGTERM"
    assert household.living() == []


def test_last_words_are_those_of_the_last_life(keep_house: KeepHouse, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "cook.log").write_text("yesterday there was flour\n")
    household = keep_house(cook={"first_life": "dies"})
    assert household.exit_code() == 1
    assert "yesterday" not in household.said
    assert "yesterday" in (tmp_path / "logs" / "cook.log").read_text()


def test_a_long_log_is_put_aside_before_a_child_starts(keep_house: KeepHouse, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "oven.log").write_bytes(b"#" * (LOG_BYTES + 1))
    keep_house().until_open()
    assert (tmp_path / "logs" / "oven.log.1").stat().st_size == LOG_BYTES + 1
    assert (tmp_path / "logs" / "oven.log").stat().st_size == 0


def test_the_back_off_grows_up_to_half_a_minute() -> None:
    assert [back_off_s(failures) for failures in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert back_off_s(1000) == LONGEST_BACK_OFF_S


def test_an_exit_status_is_said_in_words() -> None:
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(-signal.SIGKILL) == "was killed by SIGKILL"
