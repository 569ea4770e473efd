"""What answers amount to: rates, Wilson's interval, raters who are steady or not."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.study.judging import Z_95, Answer, Tally, judge, wilson


@pytest.mark.parametrize(
    ("rate", "count", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, score method without continuity correction.
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(rate: float, count: int, low: float, high: float) -> None:
    assert wilson(rate, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(wins=st.integers(0, 400), losses=st.integers(1, 400), ties=st.integers(0, 50))
def test_the_ends_of_the_interval_are_as_far_from_what_was_seen_as_chance_goes(
    wins: int, losses: int, ties: int
) -> None:
    """A true rate at an end would be seen z standard deviations away: what the interval is defined by."""
    tally = Tally(wins, losses, ties)
    for end in tally.interval:
        deviation = Z_95 * sqrt(end * (1 - end) / tally.count)
        assert abs(tally.rate - end) == pytest.approx(deviation, abs=1e-6)
    assert tally.interval[0] <= tally.rate <= tally.interval[1]


def test_without_answers_everything_is_possible() -> None:
    tally = Tally(0, 0, 0)
    assert (tally.rate, tally.interval, tally.is_decided) == (0.5, (0.0, 1.0), False)


def test_a_tie_is_half_a_win_for_each() -> None:
    assert Tally(wins=3, losses=1, ties=4).rate == 0.625
    assert Tally(0, 0, 9).rate == 0.5


@pytest.mark.parametrize(
    ("wins", "losses", "is_decided"), [(10, 0, True), (0, 10, True), (7, 3, False), (70, 30, True)]
)
def test_it_is_decided_once_chance_lies_outside(wins: int, losses: int, is_decided: bool) -> None:
    assert Tally(wins, losses, 0).is_decided is is_decided


def test_repeated_pairs_check_the_rater_and_do_not_count() -> None:
    answers = [
        Answer("ann", 0, "a"),
        Answer("ann", 1, "tie"),
        Answer("ben", 0, "b"),
        Answer("ann", 0, "a", is_repeat=True),
        Answer("ann", 1, "b", is_repeat=True),
        Answer("ben", 1, "a", is_repeat=True),
    ]
    judgement = judge(answers)
    assert judgement.tally == Tally(wins=1, losses=1, ties=1)
    ann, ben = judgement.raters
    assert (ann.name, ann.repeated, ann.agreed) == ("ann", 2, 1)
    # Without a first answer there is nothing to agree with.
    assert (ben.repeated, ben.agreed) == (0, 0)
    assert judgement.steadiness == 0.5
    assert judge(answers[:3]).steadiness is None
