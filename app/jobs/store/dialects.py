"""Jobs that a client of a compatible dialect asked for: known by the keys that the dialects give them.

Such a client names neither a key nor a job.  What it means by sending a request again, or by "what runs", is found by
what it asked for, and through which dialect.
"""

import hashlib
from typing import Final
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, case, select

from app.jobs.columns import database_now
from app.jobs.database import Transactions
from app.jobs.store import reading
from app.jobs.store.records import Idempotency, Job, State
from app.jobs.store.rows import upsert
from app.jobs.tables import choices, jobs

# No client can send it in a header, so no key of anybody's looks like one of these.
_MARK: Final = "§"


def new_key(dialect: str) -> str:
    """A key for one more job of this dialect."""
    return f"{_MARK}{dialect}:{uuid4().hex}"


def asked_lately(connection: Connection, owner: str, idempotency: Idempotency) -> Job | None:
    """The owner's newest job of the same dialect and the same body, if it is not older than `again_s`."""
    dialect = idempotency.key.partition(":")[0].removeprefix(_MARK)
    query = (
        select(jobs.c.id)
        .where(
            is_of(dialect),
            jobs.c.owner == owner,
            jobs.c.body_sha256 == idempotency.body_sha256,
            jobs.c.created_at > database_now() - idempotency.again_s,
        )
        .order_by(jobs.c.number.desc())
        .limit(1)
    )
    job_id = connection.execute(query).scalar()
    return None if job_id is None else reading.job(connection, job_id, owner)


def is_of(dialect: str) -> ColumnElement[bool]:
    """The jobs that came by this dialect."""
    # Said twice: SQLite uses the index of the rows that have a key only where it sees that they must have one.
    begins = jobs.c.idempotency_key.startswith(f"{_MARK}{dialect}:", autoescape=True)
    return and_(jobs.c.idempotency_key.is_not(None), begins)


class Dialects:
    """The store's part for clients without ids.  Every method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions) -> None:
        """Look where `transactions` lead."""
        self._transactions = transactions

    def under_way(self, dialect: str, owner: str) -> list[Job]:
        """The owner's jobs of this dialect that have not ended: those that run first, and the oldest first."""
        not_ended = jobs.c.state.in_((State.RUNNING, State.QUEUED))
        waits = case((jobs.c.state == State.RUNNING, 0), else_=1)
        query = (
            select(jobs.c.id)
            .where(and_(is_of(dialect), jobs.c.owner == owner, not_ended))
            .order_by(waits, jobs.c.number)
        )
        with self._transactions.reading() as connection:
            ids = connection.execute(query).scalars().all()
            return [reading.job(connection, job_id, owner) for job_id in ids]

    def chosen_model(self, dialect: str, owner: str) -> str | None:
        """The model that the owner chose for all that they ask for in this dialect; None if they never did."""
        with self._transactions.reading() as connection:
            query = select(choices.c.value).where(choices.c.name == _choice(dialect, owner))
            return connection.execute(query).scalar()

    def choose_model(self, dialect: str, owner: str, name: str) -> None:
        """Let it be this one from now on."""
        with self._transactions.writing() as connection:
            upsert(connection, choices, {"name": _choice(dialect, owner), "value": name})


def _choice(dialect: str, owner: str) -> str:
    # The column holds less than an owner's name may have.
    return f"{dialect}:{hashlib.sha256(owner.encode()).hexdigest()[:32]}"
