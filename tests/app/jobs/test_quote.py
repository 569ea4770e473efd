"""A quote keeps what it promises: learned from what became of earlier ones, whatever load comes."""

import pytest

from app.jobs.expectation import Expected
from app.jobs.quote import Case, quote
from tests.app.jobs.simulated_queue import Load, Service, kept_share

EXPECTED = Expected(2.0, 3.0)


def past(factor: float, start_s: float = 2.0, finish_s: float = 3.0, *, is_low: bool = False) -> Case:
    """A job of which this was expected, and that took `factor` times as long."""
    return Case(is_low, Expected(start_s, finish_s), start_s * factor, finish_s * factor)


def test_without_a_past_the_expectation_is_the_middle() -> None:
    found = quote(False, EXPECTED, [])
    assert (found.start.p50, found.finish.p50) == pytest.approx((2.0, 3.0))
    assert found.start.p50 < found.start.p90
    assert found.finish.p50 < found.finish.p90 < 2 * found.finish.p50


def test_what_was_wrong_before_will_be_wrong_again() -> None:
    found = quote(False, EXPECTED, [past(2.0)] * 50)
    assert found.finish.p50 == pytest.approx(6.0)
    assert found.start.p50 == pytest.approx(2 * 2.0, rel=0.3)
    wide = quote(False, EXPECTED, [*[past(1.0)] * 40, *[past(4.0)] * 10])
    assert wide.finish.p50 == pytest.approx(3.0)
    assert wide.finish.p90 == pytest.approx(12.0)


def test_only_those_are_asked_that_met_a_queue_alike() -> None:
    idle, busy = [past(5.0, 0.0, 1.0)] * 50, [past(1.0, 20.0, 21.0)] * 50
    assert quote(False, Expected(0.0, 1.0), [*idle, *busy]).finish.p50 == pytest.approx(5.0)
    assert quote(False, Expected(20.0, 21.0), [*idle, *busy]).finish.p50 == pytest.approx(21.0)


def test_low_jobs_learn_from_low_jobs_alone() -> None:
    assert quote(True, EXPECTED, [past(9.0)] * 50) == quote(True, EXPECTED, [])
    assert quote(True, EXPECTED, [past(9.0, is_low=True)] * 50).finish.p50 == pytest.approx(27.0)


def test_those_that_still_wait_are_no_reason_to_be_hopeful() -> None:
    ended = [past(1.0)] * 25
    waiting = [Case(False, EXPECTED, 30.0, 30.0, has_started=False, has_finished=False)] * 25
    assert quote(False, EXPECTED, ended).finish.p90 < 6.0
    assert quote(False, EXPECTED, [*ended, *waiting]).finish.p90 == pytest.approx(30.0)
    just_begun = [Case(False, EXPECTED, 0.1, 0.1, has_started=False, has_finished=False)] * 25
    assert quote(False, EXPECTED, [*ended, *just_begun]) == quote(False, EXPECTED, ended)


def test_an_idle_service_promises_a_start_at_once() -> None:
    found = quote(False, Expected(0.0, 1.0), [Case(False, Expected(0.0, 1.0), 0.01, 1.0)] * 50)
    assert found.start.p50 == pytest.approx(0.01)


# No constant was chosen by these seeds.
@pytest.mark.parametrize(
    "load",
    [
        Load(seed=101, share=0.3),
        Load(seed=102, share=0.8, noise=0.3),
        Load(seed=104, share=0.7, workers=3),
        Load(seed=105, share=0.6, workers=2, burst=20),
    ],
    ids=lambda load: f"seed {load.seed}",
)
def test_nine_of_ten_finish_within_what_was_quoted(load: Load) -> None:
    half, most = kept_share(Service(load).run())
    assert 0.85 <= most <= 0.95
    assert 0.4 <= half <= 0.62
