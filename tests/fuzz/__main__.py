"""`python -m tests.fuzz --cases 50000`: throws that many requests at a service, and says what it answered."""

import argparse
import time

from tests.fuzz import cases
from tests.fuzz.household import household

STEPS = 10


def main() -> None:
    """Nine tenths one request at a time, one tenth in ways along the links; the first wrong answer ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    with household() as house:
        schema = cases.load(house)
        cases.try_each_operation(schema, given.cases * 9 // 10, given.seed)
        cases.walk(schema, given.cases // 10 // STEPS, STEPS, given.seed)
    for label, count in sorted(cases.TALLY.items()):
        print(f"{count:7}  {label}")
    print(f"{sum(cases.TALLY.values())} answers in {time.monotonic() - began:.0f} s, every one as it is described")


if __name__ == "__main__":
    main()
