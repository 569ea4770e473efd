"""When a job will start and finish, as far as that may be promised.  Pure: no clock, no database.

An expectation is made plainly, and is therefore wrong in ways that repeat themselves.  So a promise is made of it by
what became of earlier ones: the share of jobs that took at most so many times as long as expected is the share of the
next ones that will (split conformal prediction).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.expectation import Expected

# So many of the jobs that met a queue most alike tell how wrong an expectation will be.
COMPARABLE = 50

# What is promised. Tomorrow is never quite like today: nine of ten are kept by promising for a few more.
HALF, MOST = 0.5, 0.92

# How many times as long as expected jobs take while little was learned yet: what it is to be wrong on an idle machine
# about a model that was measured once.
PRIOR = (0.8, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.25, 1.6)


@dataclass(frozen=True, slots=True)
class Case:
    """What was expected of a job when it was queued, beside what came of it, or has come of it so far."""

    is_low: bool
    expected: Expected
    start_s: float
    finish_s: float
    has_started: bool = True
    has_finished: bool = True


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds from now: half of all jobs take at most `p50`, nine of ten at most `p90`."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Quote:
    """When a job will start and finish."""

    start: Range
    finish: Range


def quote(is_low: bool, expected: Expected, cases: Sequence[Case]) -> Quote:
    """What may be promised of an expectation, by what became of earlier ones that met a queue most alike."""
    peers = [case for case in cases if case.is_low == is_low]
    alike = sorted(peers, key=lambda case: abs(_load(case.expected) - _load(expected)))[:COMPARABLE]
    # In units that are never 0: a start at once is expected to take no time, and may.
    starts = [((case.start_s + case.expected.own_s) / case.expected.finish_s, case.has_started) for case in alike]
    finishes = [(case.finish_s / case.expected.finish_s, case.has_finished) for case in alike]
    start = [max(0.0, _promised(starts, share) * expected.finish_s - expected.own_s) for share in (HALF, MOST)]
    finish = [_promised(finishes, share) * expected.finish_s for share in (HALF, MOST)]
    return Quote(Range(*start), Range(*finish))


def _promised(scores: Sequence[tuple[float, bool]], share: float) -> float:
    """What the next score does not exceed in `share` of all cases.

    A score that is not final is only known to become larger (Kaplan and Meier 1958): left out, those who wait
    longest would be missing just when most wait longer than before.
    """
    known = sorted([*scores, *((score, True) for score in PRIOR)], key=lambda each: (each[0], not each[1]))
    exceeding = 1.0
    for place, (score, is_final) in enumerate(known):
        if is_final:
            exceeding *= 1.0 - 1.0 / (len(known) - place)
        if exceeding <= 1.0 - share:
            return score
    return known[-1][0]


def _load(expected: Expected) -> float:
    """How long the queue was, in units of the job itself, on the scale on which queues differ."""
    return math.log(expected.finish_s / expected.own_s)
