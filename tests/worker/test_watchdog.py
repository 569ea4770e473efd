"""When the watchdog ends the process, and when it must not."""

import pytest

from tests.worker.fake_pipeline import FakePipeline
from tests.worker.test_engine import Diary
from worker.engine import STEPS_OF_SILENCE, Engine
from worker.watchdog import EXIT_HUNG, Watchdog

LOOK_S = 1.0
FLOOR_S = 60.0


class Dog:
    """A watchdog that has looked at an engine which never ran, and what it did about it."""

    def __init__(self) -> None:
        self.engine = Engine(1, on_room=lambda: None)
        self.ends: list[int] = []
        self.watchdog = Watchdog(self.engine, LOOK_S, FLOOR_S, self.ends.append)

    def look(self, times: int) -> None:
        for _ in range(times):
            self.watchdog.look()


@pytest.fixture
def dog() -> Dog:
    return Dog()


def make_busy(engine: Engine) -> None:
    engine.submit(Diary(FakePipeline()))
    assert engine.is_busy


def test_an_idle_engine_may_be_silent_for_ever(dog: Dog) -> None:
    dog.look(10_000)
    assert dog.ends == []


def test_a_busy_engine_may_not(dog: Dog) -> None:
    make_busy(dog.engine)
    # The first look only learns what there is to compare with.
    dog.look(61)
    assert dog.ends == []
    dog.look(1)
    assert dog.ends == [EXIT_HUNG]


def test_any_sign_of_life_is_enough(dog: Dog) -> None:
    make_busy(dog.engine)
    for _ in range(10):
        dog.look(60)
        dog.engine.signs_of_life += 1
    assert dog.ends == []


def test_slow_steps_are_given_the_time_of_twenty(dog: Dog) -> None:
    make_busy(dog.engine)
    dog.engine.slowest_step_s = 10.0
    dog.look(1 + 10 * STEPS_OF_SILENCE)
    assert dog.ends == []
    dog.look(1)
    assert dog.ends == [EXIT_HUNG]
