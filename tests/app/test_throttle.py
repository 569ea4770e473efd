"""An allowance fills at so many a minute, counts for all processes together, and outlives a Redis that is away."""

import threading
from typing import Any

import pytest
from redis import Redis

from app import throttle
from app.jobs.queue import connect
from app.throttle import Throttle


@pytest.fixture(params=["redis", "alone"])
def allowances(request: pytest.FixtureRequest) -> Throttle:
    """Allowances that are kept in Redis, and ones of a process that has none."""
    if request.param == "redis":
        return Throttle(request.getfixturevalue("redis_connection"))
    return Throttle(connect(request.getfixturevalue("away_redis_url")))


def test_a_minute_s_worth_may_be_taken_at_once_and_then_one_at_a_time(allowances: Throttle) -> None:
    assert [allowances.wait_s("ann", 5) for _ in range(5)] == [0, 0, 0, 0, 0]
    assert 11 < allowances.wait_s("ann", 5) <= 12
    # To ask too often costs nothing: the wait does not grow.
    assert 11 < allowances.wait_s("ann", 5) <= 12
    assert allowances.wait_s("bob", 5) == 0


def test_it_fills_again(allowances: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_MINUTE_S", 0.05)
    for _ in range(3):
        assert allowances.wait_s("ann", 1) == 0
        wait = allowances.wait_s("ann", 1)
        assert wait > 0
        threading.Event().wait(wait + 0.005)


def test_processes_count_together(redis_connection: Redis) -> None:
    one, other = Throttle(redis_connection), Throttle(redis_connection)
    assert [each.wait_s("ann", 2) for each in (one, other)] == [0, 0]
    assert one.wait_s("ann", 2) > 0
    assert other.wait_s("ann", 2) > 0


def test_an_allowance_that_is_full_is_not_kept(redis_connection: Redis) -> None:
    Throttle(redis_connection).wait_s("ann", 60)
    (key,) = redis_connection.keys("darkroom:allowance:*")
    assert 0 < redis_connection.pttl(key) <= 1001


def test_a_redis_that_is_away_is_asked_now_and_then_and_not_every_time(
    monkeypatch: pytest.MonkeyPatch, away_redis_url: str
) -> None:
    alone = Throttle(connect(away_redis_url))
    asked: list[Any] = []
    take = alone._take
    monkeypatch.setattr(alone, "_take", lambda **given: asked.append(given) or take(**given))
    for _ in range(10):
        alone.wait_s("ann", 60)
    assert len(asked) == 1
