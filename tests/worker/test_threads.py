"""Threads that go on whatever they are given to do."""

import threading
import time

import pytest

from tests.worker.conftest import wait_until
from worker import threads
from worker.threads import Desk, Ticker


def test_a_desk_does_things_in_the_order_in_which_they_came() -> None:
    desk, done = Desk("desk"), list[int]()
    for number in range(100):
        desk.do(lambda number=number: done.append(number))
    desk.start()
    assert desk.stop(60)
    assert done == list(range(100))


def test_a_desk_survives_what_it_is_given() -> None:
    desk, done = Desk("desk"), list[str]()
    desk.start()
    desk.do(lambda: 1 / 0)
    desk.do(lambda: done.append("next"))
    assert desk.stop(60)
    assert done == ["next"]


def test_a_desk_that_is_stuck_says_so() -> None:
    desk, gate = Desk("desk"), threading.Event()
    desk.start()
    desk.do(gate.wait)
    assert not desk.stop(0.1)
    gate.set()
    assert desk.stop(60)


def test_a_desk_that_never_started_has_ended() -> None:
    assert Desk("desk").stop(0.0)


def test_a_ticker_ticks_at_once_and_again() -> None:
    ticks: list[float] = []
    ticker = Ticker("ticker", 0.1, lambda: ticks.append(time.monotonic()))
    started = time.monotonic()
    ticker.start()
    wait_until(lambda: len(ticks) >= 3, "three ticks")
    assert ticker.stop(60)
    assert ticks[2] - started >= 0.2


def test_a_ticker_wakes_when_asked() -> None:
    ticks: list[None] = []
    ticker = Ticker("ticker", 3600, lambda: ticks.append(None))
    ticker.start()
    wait_until(lambda: len(ticks) == 1, "the first tick")
    ticker.wake()
    wait_until(lambda: len(ticks) == 2, "the tick that was asked for")
    assert ticker.stop(60)


def test_a_wake_that_comes_during_a_tick_is_not_lost() -> None:
    ticks: list[None] = []
    in_tick, gate = threading.Event(), threading.Event()

    def tick() -> None:
        ticks.append(None)
        in_tick.set()
        gate.wait()

    ticker = Ticker("ticker", 3600, tick)
    ticker.start()
    assert in_tick.wait(60)
    ticker.wake()
    gate.set()
    wait_until(lambda: len(ticks) == 2, "the tick that was asked for")
    assert ticker.stop(60)


@pytest.mark.parametrize("error", [OSError("away"), ZeroDivisionError("a bug")])
def test_a_ticker_survives_what_it_does(error: Exception) -> None:
    ticks: list[None] = []

    def tick() -> None:
        ticks.append(None)
        raise error

    ticker = Ticker("ticker", 0.01, tick)
    ticker.start()
    wait_until(lambda: len(ticks) >= 3, "three ticks")
    assert ticker.stop(60)


def test_a_tick_that_failed_is_made_up_for_before_the_next_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "RETRY_S", 0.01)
    ticks: list[None] = []

    def tick() -> None:
        ticks.append(None)
        if len(ticks) < 3:
            raise OSError("away")

    ticker = Ticker("ticker", 3600, tick)
    ticker.start()
    wait_until(lambda: len(ticks) == 3, "a tick that succeeds")
    assert ticker.stop(60)
    assert len(ticks) == 3


def test_a_ticker_that_is_stopped_during_a_tick_does_not_wait_for_the_next() -> None:
    in_tick, gate = threading.Event(), threading.Event()

    def tick() -> None:
        in_tick.set()
        gate.wait()

    ticker = Ticker("ticker", 3600, tick)
    ticker.start()
    assert in_tick.wait(60)
    assert not ticker.stop(0.1)
    gate.set()
    assert ticker.stop(60)
