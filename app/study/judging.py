"""What the answers of a study amount to.

A win counts 1, a tie one half: a rater who cannot tell says as much as one who tosses a coin, and no answer is thrown
away.  The interval is Wilson's (1927), which stays within 0 and 1 and is right for few answers too; it takes answers
as independent of each other, so with few raters it is narrower than it should be.  Repeated pairs only check the
raters and are not counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

Verdict = Literal["a", "b", "tie"]

Z_95 = 1.959963984540054
"""So many standard deviations around the mean hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One rater's verdict about one pair."""

    rater: str
    pair: int
    verdict: Verdict
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """How often A won, B won, and neither did."""

    wins: int
    losses: int
    ties: int

    @property
    def count(self) -> int:
        """All answers."""
        return self.wins + self.losses + self.ties

    @property
    def rate(self) -> float:
        """A's wins as a share of all answers, ties as halves; 0.5 while there are none."""
        return (self.wins + self.ties / 2) / self.count if self.count else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true rate is, with 95 % confidence."""
        return wilson(self.rate, self.count)

    @property
    def is_decided(self) -> bool:
        """Whether chance alone, one half, lies outside the interval."""
        low, high = self.interval
        return not low <= 0.5 <= high


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater: all that was answered, and how many of the pairs that came twice got the same verdict."""

    name: str
    tally: Tally
    repeated: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answers of all raters together, and rater by rater."""

    tally: Tally
    raters: tuple[Rater, ...]

    @property
    def steadiness(self) -> float | None:
        """The share of repeated pairs that got the same verdict again; None while there are none."""
        repeated = sum(rater.repeated for rater in self.raters)
        return sum(rater.agreed for rater in self.raters) / repeated if repeated else None


def wilson(rate: float, count: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share that was seen in `count` answers; everything from 0 to 1 while there are none.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if count == 0:
        return 0.0, 1.0
    weight = z * z / count
    centre = (rate + weight / 2) / (1 + weight)
    half = z * sqrt(rate * (1 - rate) / count + weight / (4 * count)) / (1 + weight)
    # What was seen lies within, also where rounding would put it a hair outside.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def judge(answers: Sequence[Answer]) -> Judgement:
    """What the answers amount to, raters in the order in which they came."""
    raters = dict.fromkeys(answer.rater for answer in answers)
    return Judgement(
        tally=tally(answers),
        raters=tuple(_rater(name, [answer for answer in answers if answer.rater == name]) for name in raters),
    )


def tally(answers: Iterable[Answer]) -> Tally:
    """The answers that count."""
    verdicts = [answer.verdict for answer in answers if not answer.is_repeat]
    return Tally(verdicts.count("a"), verdicts.count("b"), verdicts.count("tie"))


def _rater(name: str, answers: Sequence[Answer]) -> Rater:
    first = {answer.pair: answer.verdict for answer in answers if not answer.is_repeat}
    again = [answer for answer in answers if answer.is_repeat and answer.pair in first]
    agreed = sum(answer.verdict == first[answer.pair] for answer in again)
    return Rater(name, tally(answers), len(again), agreed)
