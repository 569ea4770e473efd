"""Who sees what when: all of it once, sides balanced, some of it again the other way round."""

from collections import Counter
from random import Random

import pytest

from app.study.drawing import draw_showings, pair_up


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("pairs", "repeats"), [(1, 3), (2, 1), (9, 4), (30, 5)])
def test_every_pair_comes_once_and_some_again_with_their_sides_changed(seed: int, pairs: int, repeats: int) -> None:
    shown = draw_showings(pairs, repeats, Random(seed))
    first = [each for each in shown if not each.is_repeat]
    again = [each for each in shown if each.is_repeat]
    assert sorted(each.pair for each in first) == list(range(pairs))
    assert len(again) == min(repeats, pairs // 2)
    assert len({each.pair for each in again}) == len(again)
    swapped = sum(each.is_swapped for each in first)
    assert abs(2 * swapped - pairs) <= 1, "A must lie left as often as right"
    for each in again:
        earlier = next(one for one in first if one.pair == each.pair)
        assert earlier.is_swapped is not each.is_swapped
        assert shown.index(each) - shown.index(earlier) > 1, "nobody must see the same pair twice in a row"


def test_order_and_sides_are_left_to_chance() -> None:
    seen = [tuple((each.pair, each.is_swapped) for each in draw_showings(6, 0, Random(seed))) for seed in range(60)]
    assert len(set(seen)) > 50
    places = Counter(order[0][0] for order in seen)
    assert set(places) == set(range(6))


def test_pictures_of_the_same_thing_are_paired_first() -> None:
    ours = [("fox", 1), ("owl", 2), ("fox", 3), ("whale", 4)]
    theirs = [("cat", 5), ("fox", 6), ("owl", 7)]
    pairs = pair_up(ours, theirs, lambda each: each[0])
    assert pairs == [(ours[0], theirs[1]), (ours[1], theirs[2]), (ours[2], theirs[0])]
    assert pair_up([], theirs, lambda each: each[0]) == []
