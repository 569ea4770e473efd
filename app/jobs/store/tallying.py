"""What is counted for ever: claims, losses, give-backs, and how jobs ended.

The row of a job that ended never changes again, so it is counted once, by a sweep, and marked. A count is what the
tallies say and what the rows say that are not marked yet; it never shrinks, also when old rows are deleted.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.jobs.store.records import State
from app.jobs.store.rows import unlocked
from app.jobs.tables import is_untallied, jobs, tallies

# A sweep holds the only write lock that SQLite has.
_AT_ONCE = 1000

_COUNTED = (jobs.c.state, jobs.c.error_code, jobs.c.attempt, jobs.c.losses, jobs.c.infra_failures)
ENDED = [state for state in State if state.is_terminal]

Tally = tuple[str, str]
"""What is counted, and which kind of it."""


def tally(connection: Connection) -> int:
    """Count some of the jobs that ended and are not counted yet; returns how many."""
    some = select(jobs.c.number).where(jobs.c.state.in_(ENDED), is_untallied).limit(_AT_ONCE)
    numbers = connection.execute(some).scalars().all()
    if not numbers:
        return 0
    wanted = unlocked(jobs, and_(jobs.c.number.in_(numbers), is_untallied))
    rows = connection.execute(update(jobs).where(wanted).values(is_tallied=True).returning(*_COUNTED)).all()
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    # In one order: two who count at once wait for each other, and never in a circle.
    for (what, kind), count in sorted(counts_of(rows).items()):
        statement = insert(tallies).values(what=what, kind=kind, count=count)
        statement = statement.on_conflict_do_update(
            index_elements=["what", "kind"], set_={"count": tallies.c.count + statement.excluded.count}
        )
        connection.execute(statement)
    return len(rows)


def counts(connection: Connection) -> Counter[Tally]:
    """Everything that was ever counted."""
    return Counter({(row.what, row.kind): row.count for row in connection.execute(select(tallies))})


def counts_of(rows: Iterable[Row[Any]]) -> Counter[Tally]:
    """What these rows of jobs that have ended come to."""
    counted: Counter[Tally] = Counter()
    for row in rows:
        counted["claims", ""] += row.attempt
        counted["losses", ""] += row.losses
        counted["give_backs", ""] += row.infra_failures
        counted["ended", row.error_code if row.state == State.FAILED else row.state] += 1
    return counted
