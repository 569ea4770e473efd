"""Whose rows take the next step. Pure: no clock, no thread, no device.

Every owner, and among an owner's works every kind of row (a pipeline and a shape), has an account of the cost that
was spent on it. The turn is that of the smallest account: deficit round-robin, with the deficit kept as what was
spent. Whoever comes, or comes back, begins where the poorest in hand is, so that absence saves nothing up. The step
is then filled with other rows of the same kind, poorest owner first, each charged for its own.

So a step belongs to whoever has had least, and whoever comes new waits for the step that is running and no other
(if its model is in memory: `loop` says when another one is brought in).
Work that is low waits while any other is in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.engine.work import Model, Seconds, Work

if TYPE_CHECKING:
    from models import Row


Account = tuple[Hashable, ...]
IsHere = Callable[[Model], bool]


def _anything(pipeline: Model) -> bool:
    return True


@dataclass(eq=False, slots=True)
class Guest:
    """A work with its rows in hand; `waiting` are those that have steps to take, in the order of the images.

    It has none before its text is encoded, for which its pipeline has to be in memory. `kind` is what rows must have
    in common to share a step; `accounts` are the owner's, that for the kind, its own. Rows of a work that
    `steps_alone` share no step, whatever they have in common.
    """

    work: Work
    rows: Sequence[Row]
    kind: Hashable = field(init=False)
    accounts: tuple[Account, ...] = field(init=False)
    steps_alone: bool = field(init=False)
    waiting: list[Row] = field(init=False)
    undeveloped: int = field(init=False)
    seconds: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self.kind = id(self.work.pipeline), self.rows[0].bucket if self.rows else None
        # What is low has accounts of its own: it spends nothing while others do, and must not save that up.
        payer = self.work.owner, self.work.is_low
        self.accounts = payer, (*payer, self.kind), (*payer, self.kind, id(self))
        self.steps_alone = bool(self.rows) and self.rows[0].reproducible
        self.waiting = [row for row in self.rows if not row.is_done]
        self.undeveloped = len(self.rows)

    @property
    def is_encoded(self) -> bool:
        """Whether it has rows."""
        return bool(self.rows)


Batch = list[tuple[Guest, "Row"]]


class Turns:
    """The works in hand, and what was spent on each account of theirs."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._guests: list[Guest] = []
        self._spent: dict[Account, float] = {}

    @property
    def guests(self) -> Sequence[Guest]:
        """Whoever is in hand, in the order in which they came."""
        return tuple(self._guests)

    def add(self, guest: Guest) -> None:
        """Take in a work whose rows have steps to take."""
        for place, account in enumerate(guest.accounts):
            if account not in self._spent:
                # Level with the poorest of those it competes with.
                rivals = (other.accounts[place] for other in self._guests if _is_rival(other, guest, place))
                self._spent[account] = min((self._spent[rival] for rival in rivals), default=0.0)
        self._guests.append(guest)

    def remove(self, guest: Guest) -> None:
        """Forget a work, and the accounts that nobody in hand has any more; no harm if it is not here."""
        if guest not in self._guests:
            return
        self._guests.remove(guest)
        kept = {account for other in self._guests for account in other.accounts}
        for account in set(guest.accounts) - kept:
            del self._spent[account]

    def next(self) -> Guest | None:
        """Whose turn it would be if all that waits were encoded and in memory."""
        ready = [guest for guest in self._guests if guest.waiting or not guest.is_encoded]
        return min(_normal_first(ready), key=self._rank, default=None)

    def next_here(self, is_here: IsHere) -> Guest | None:
        """Whose turn it is, of those whose pipeline `is_here`; None if none of them waits for a step."""
        return min(self._ready(is_here), key=self._rank, default=None)

    def next_batch(self, size: Callable[[Hashable, int], int], is_here: IsHere = _anything) -> Batch:
        """The rows that take the next step, all of one kind, `size(kind, waiting)` of them; none if none wait."""
        # Once: a model may go at any moment.
        ready = self._ready(is_here)
        if not ready:
            return []
        first = min(ready, key=self._rank)
        if first.steps_alone:
            self._charge(first)
            return [(first, first.waiting[0])]
        kind = first.kind
        alike = [guest for guest in ready if guest.kind == kind]
        untaken = {guest: list(guest.waiting) for guest in alike}
        batch: Batch = []
        for _ in range(size(kind, sum(len(rows) for rows in untaken.values()))):
            guest = min((guest for guest in alike if untaken[guest]), key=self._rank)
            batch.append((guest, untaken[guest].pop(0)))
            self._charge(guest)
        return batch

    def _ready(self, is_here: IsHere) -> list[Guest]:
        return _normal_first([guest for guest in self._guests if guest.waiting and is_here(guest.work.pipeline)])

    def _charge(self, guest: Guest) -> None:
        for account in guest.accounts:
            self._spent[account] += guest.work.step_cost

    def _rank(self, guest: Guest) -> list[float]:
        # Among equal owners the newcomer is first: nothing was spent on its kind yet.
        return [self._spent[account] for account in guest.accounts]


def _normal_first(guests: list[Guest]) -> list[Guest]:
    return [guest for guest in guests if not guest.work.is_low] or guests


def _is_rival(other: Guest, guest: Guest, place: int) -> bool:
    """Whether the accounts of two works are compared at this place: those before it are the same."""
    is_same_lane = other.work.is_low == guest.work.is_low
    return is_same_lane and other.accounts[:place] == guest.accounts[:place]
