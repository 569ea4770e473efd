"""What answers amount to: rates, Wilson's interval, raters who are steady or not."""

import pytest

from app.study.judging import Answer, Tally, judge, wilson


@pytest.mark.parametrize(
    ("rate", "count", "low", "high"),
    [
        # R: prop.test(x, n, correct = FALSE)$conf.int
        (0.5, 10, 0.2365931, 0.7634069),
        (0.9, 10, 0.5958500, 0.9821238),
        (0.0, 20, 0.0, 0.1611252),
        (1.0, 20, 0.8388748, 1.0),
        (0.56, 1000, 0.5290559, 0.5904783),
    ],
)
def test_the_interval_is_wilsons(rate: float, count: int, low: float, high: float) -> None:
    assert wilson(rate, count) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


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
