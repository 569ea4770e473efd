"""How many rows a step may take: fixed sizes, fewer for what proved too large for the memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable

SIZES = (1, 2, 4, 8, 16)
"""The numbers of rows that a step may have. Few, so that whatever is prepared for each is prepared soon."""

# What took the memory may have left: after so many steps of a smaller size the next larger one is tried again.
GOOD_STEPS = 500


# A larger step must bring at least this share more images a second: whoever is in it waits longer for each step.
WORTH_IT = 1.1


def rows_that_pay(step_s: Callable[[int], float]) -> int:
    """The largest size that is worth its longer steps; `step_s(size)` says how long a step of this size takes.

    Larger ones are not measured once one did not pay, or was too much for the memory (MemoryError).
    """
    best, best_rate = 1, 1 / step_s(1)
    for size in SIZES[1:]:
        try:
            rate = size / step_s(size)
        except MemoryError:
            break
        if rate < WORTH_IT * best_rate:
            break
        best, best_rate = size, rate
    return best


class Buckets:
    """The size of a step for each kind of row: at most `max_rows`, less after the device ran out of memory."""

    def __init__(self, max_rows: int) -> None:
        """Begin with the largest size up to `max_rows` for everybody. Raises: ValueError if there is none."""
        if max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, got {max_rows}")
        self.max_rows = max_rows
        self.times_shrunk = 0
        self._limits: dict[Hashable, int] = {}
        self._good_steps: dict[Hashable, int] = {}

    def size(self, kind: Hashable, waiting: int) -> int:
        """How many rows of this kind take the next step, if so many are waiting (at least one)."""
        most = min(self._limits.get(kind, self.max_rows), waiting)
        return max(size for size in SIZES if size <= most)

    def shrink(self, kind: Hashable, rows: int) -> int:
        """A step of so many rows was too large for the memory: the size that is tried from now on."""
        self.times_shrunk += 1
        self._good_steps[kind] = 0
        self._limits[kind] = max(1, rows // 2)
        return self._limits[kind]

    def went_well(self, kind: Hashable, rows: int) -> None:
        """A step of so many rows fitted; after enough of the largest allowed, allow more again."""
        if rows < self._limits.get(kind, self.max_rows + 1):
            return
        self._good_steps[kind] += 1
        if self._good_steps[kind] >= GOOD_STEPS:
            self._good_steps[kind] = 0
            self._limits[kind] *= 2
            if self._limits[kind] >= self.max_rows:
                del self._limits[kind], self._good_steps[kind]
