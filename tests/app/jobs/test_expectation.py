"""What is expected of a job: what is ahead of it, spread over those who work, and then the job itself."""

from dataclasses import replace

import pytest

from app.jobs.expectation import Ahead, Expected, Line, Made, Running, Speeds, Work, expect, expect_rest

# At 1 s for a million, it takes a second.
WORK = Work("storybook", cost=1e6, steps=10, is_guided=True, is_low=False)
SPEEDS = Speeds([Made(WORK, 1.0)], {})
SERVED = [["storybook"]]


def running(work: Work = WORK, *, worker: str = "a", is_mine: bool = False, told: float = 0.0, s: float = 0) -> Running:
    return Running(work, worker, is_mine, told, s)


def test_on_an_idle_service_a_job_starts_at_once() -> None:
    assert expect(WORK, Line(SERVED, [], []), SPEEDS) == Expected(0.0, 1.0)
    assert expect(WORK, Line([["other"], *SERVED], [], []), SPEEDS) == Expected(0.0, 1.0)


def test_nobody_knows_when_a_job_ends_that_no_worker_serves_or_that_was_never_measured() -> None:
    assert expect(WORK, Line([["other"]], [], []), SPEEDS) is None
    assert expect(WORK, Line(SERVED, [], []), Speeds([], {"other": 1.0})) is None


def test_what_workers_measured_counts_until_something_was_made() -> None:
    measured = {"storybook": 2e-6}
    assert Speeds([], measured).seconds(WORK) == pytest.approx(2.0)
    assert Speeds([], measured).mean_seconds("storybook", 3e6) == pytest.approx(6.0)
    assert Speeds([Made(WORK, 5.0)], measured).seconds(WORK) == pytest.approx(5.0)


def test_jobs_that_are_most_alike_tell_how_long_one_takes() -> None:
    small, large = replace(WORK, cost=1e5), replace(WORK, cost=4e6)
    plain = replace(WORK, is_guided=False)
    speeds = Speeds([*[Made(small, 1.0)] * 16, *[Made(large, 4.0)] * 16, *[Made(plain, 0.5)] * 16], {})
    assert speeds.seconds(small) == pytest.approx(1.0)
    assert speeds.seconds(replace(large, cost=5e6)) == pytest.approx(5.0)
    assert speeds.seconds(plain) == pytest.approx(0.5)


def test_what_waits_ahead_is_spread_over_the_workers() -> None:
    ahead = [Ahead("storybook", jobs=6, cost=6e6, own_cost=0.0)]
    assert expect(WORK, Line(SERVED, [], ahead), SPEEDS) == Expected(6.0, 7.0)
    assert expect(WORK, Line(SERVED * 3, [], ahead), SPEEDS) == Expected(2.0, 3.0)


def test_a_worker_that_has_nothing_to_do_is_not_waited_for() -> None:
    assert expect(WORK, Line(SERVED * 2, [running(is_mine=True)], []), SPEEDS) == Expected(0.0, 1.0)


def test_work_for_other_models_counts_as_far_as_the_same_workers_do_it() -> None:
    speeds = Speeds([Made(WORK, 1.0), Made(replace(WORK, model="other"), 1.0)], {})
    ahead = [Ahead("other", jobs=4, cost=4e6, own_cost=0.0)]
    assert expect(WORK, Line([["storybook"], ["other"]], [], ahead), speeds) == Expected(0.0, 1.0)
    both = Line([["storybook", "other"], ["other"]], [], ahead)
    assert expect(WORK, both, speeds) == Expected(2.0, 3.0)


def test_of_what_is_running_the_rest_is_waited_for() -> None:
    line = Line(SERVED, [running(is_mine=True, told=0.25)], [])
    assert expect(WORK, line, SPEEDS) == Expected(0.75, 1.75)
    unheard = Line(SERVED, [running(is_mine=True, s=0.5)], [])
    assert expect(WORK, unheard, SPEEDS) == Expected(0.5, 1.5)


def test_anothers_long_job_shares_the_device_with_a_short_one() -> None:
    long = replace(WORK, cost=1e8)
    assert expect(WORK, Line(SERVED, [running(long)], []), SPEEDS) == Expected(1.0, 2.0)
    assert expect(WORK, Line(SERVED, [running(long, is_mine=True)], []), SPEEDS) == Expected(100.0, 101.0)


def test_low_jobs_make_way_for_normal_ones_and_not_the_other_way_round() -> None:
    low = replace(WORK, is_low=True, cost=5e6)
    assert expect(WORK, Line(SERVED, [running(low)], []), SPEEDS) == Expected(0.0, 1.0)
    assert expect(low, Line(SERVED, [running(replace(WORK, cost=9e6))], []), SPEEDS) == Expected(9.0, 14.0)


def test_a_running_job_waits_for_its_company_as_long_as_it_works_itself() -> None:
    mine, short, other = running(told=0.5), running(told=0.9), running(told=0.2, worker="b")
    ended = expect_rest(mine, [mine, short, other], SPEEDS)
    assert ended is not None
    assert ended.finish_s == pytest.approx(0.5 + 0.1)
    assert expect_rest(running(replace(WORK, model="new")), [], SPEEDS) is None
