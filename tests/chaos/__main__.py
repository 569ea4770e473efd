"""`python -m tests.chaos --jobs 500 --seed 7`: a storm over the real service, and what it lost (nothing).

Prints the seed, the faults as they happen, and the report; the exit status is 0 if nothing was wrong. The same seed
draws the same wishes and the same faults again; what the machine makes of them in between is its own affair.
"""

import asyncio
import random
import shutil
import sys
from argparse import ArgumentParser

import structlog

from tests.chaos.folders import quick_folder
from tests.chaos.plan import draw
from tests.chaos.run import Interrupted, Report, run


def main() -> int:
    """Run once, or once for each of several seeds."""
    parser = ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and printed, if not given")
    parser.add_argument("--runs", type=int, default=1, help="so many seeds, one after the other")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    first = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    try:
        reports = [one(seed, asked.jobs) for seed in range(first, first + asked.runs)]
    except Interrupted:
        return 130
    print(f"{len(reports)} runs, {sum(not report.is_clean for report in reports)} with violations")
    return 0 if all(report.is_clean for report in reports) else 1


def one(seed: int, jobs: int) -> Report:
    """One run, told as it goes; its folder is kept if something was wrong."""
    print(f"seed {seed}: python -m tests.chaos --jobs {jobs} --seed {seed}", flush=True)
    folder = quick_folder("darkroom-chaos-")
    try:
        report = asyncio.run(run(draw(seed, jobs), folder, lambda text: print(f"  {text}", flush=True)))
    except Interrupted:
        shutil.rmtree(folder)
        raise
    for name, count in report.counts.items():
        print(f"  {name}: {count}")
    for violation in report.violations:
        print(f"  VIOLATION {violation}")
    print(f"  {'nothing was lost' if report.is_clean else f'see {folder}'}", flush=True)
    if report.is_clean:
        shutil.rmtree(folder)
    return report


if __name__ == "__main__":
    sys.exit(main())
