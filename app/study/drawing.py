"""Who sees which pair when, and on which side: drawn by chance, from a generator that is passed in."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Showing:
    """One pair shown to one rater; `is_swapped`: A lies on the right.  A repeated one checks the rater."""

    pair: int
    is_swapped: bool
    is_repeat: bool = False


def draw_showings(pairs: int, repeats: int, rng: Random) -> list[Showing]:
    """Every pair once, in an order and on sides of chance, and some of them again with their sides changed.

    A lies left and right equally often, or once more on one of them.  What comes again was in the first half, and
    comes in the second; of n pairs at most n // 2 do.
    """
    order = rng.sample(range(pairs), pairs)
    sides = [index % 2 == 0 for index in range(pairs)]
    rng.shuffle(sides)
    first = [Showing(pair, is_swapped) for pair, is_swapped in zip(order, sides, strict=True)]
    again = rng.sample(first[: pairs // 2], min(repeats, pairs // 2))
    later: list[Showing] = first[pairs // 2 :]
    for shown in again:
        # Behind at least one other, so that nobody sees the same pair twice in a row.
        later.insert(rng.randint(1, len(later)), Showing(shown.pair, not shown.is_swapped, is_repeat=True))
    return first[: pairs // 2] + later


def pair_up(ours: Sequence[T], theirs: Sequence[T], about: Callable[[T], Hashable]) -> list[tuple[T, T]]:
    """Each of ours with one of theirs, first those that are about the same; what is left over on one side is left."""
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in reversed(range(len(theirs))):
        waiting[about(theirs[index])].append(index)
    mates = [waiting[about(one)].pop() if waiting[about(one)] else None for one in ours]
    rest = iter(sorted(index for left in waiting.values() for index in left))
    found = [(one, mate if mate is not None else next(rest, None)) for one, mate in zip(ours, mates, strict=True)]
    return [(one, theirs[mate]) for one, mate in found if mate is not None]
