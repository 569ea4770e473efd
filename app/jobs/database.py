"""Connections and transactions: how this service speaks to SQLite and PostgreSQL alike.

SQLite runs in WAL mode with synchronous=FULL, so that what was committed survives the power going away.
A writing transaction begins with BEGIN IMMEDIATE: it waits for the write lock before it reads, and so never
has to be told halfway that what it read is stale.

PostgreSQL writes at READ COMMITTED: a guard in a WHERE is asked again of a row that changed while it was waited
for.  Nothing waits for ever: neither for a host that is gone, nor for a lock, nor for a worker that was stopped
in the middle of a transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings

BUSY_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5

# A table or a column that is missing only means that the migration is still to come.
_NOT_MIGRATED = ("42P01", "42703")


def open_engine(settings: Settings, *, pool_size: int = 5) -> Engine:
    """An engine for the settings' database.  Nothing is connected yet.

    A thread that finds all connections taken waits as long as it would for a lock, then gets an error.
    """
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url,
            pool_size=pool_size,
            pool_timeout=BUSY_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args=_postgresql_patience(url),
        )
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=pool_size, pool_timeout=BUSY_TIMEOUT_S)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_patience(url: URL) -> dict[str, Any]:
    """How long a connection waits for what, unless the URL says otherwise."""
    server = {
        "statement_timeout": STATEMENT_TIMEOUT_S,
        "lock_timeout": BUSY_TIMEOUT_S,
        "idle_in_transaction_session_timeout": STATEMENT_TIMEOUT_S,
    }
    patience: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": " ".join(f"-c {name}={limit_s * 1000:.0f}" for name, limit_s in server.items()),
        # A host that died says nothing: the kernel has to ask, and to give up.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return {name: value for name, value in patience.items() if name not in url.query}


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver must not begin transactions on its own: it would not make them IMMEDIATE.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Transactions:
    """Opens the transactions of one engine; however a database is away, the error is StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Use `engine`.  Nothing is connected yet."""
        self._writes = engine.execution_options(writes=True)
        self._reads = engine
        if engine.dialect.name == "postgresql":
            self._reads = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # SQLite admits one writer.  Threads that queue here are served in turn; in SQLite they would poll.
        self._turn = Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with _unavailable_is_one_error(), self._reads.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits when the block ends, and is rolled back if it raises.

        Raises: StoreUnavailable, after which the commit may or may not have happened.
        """
        with _unavailable_is_one_error(), self._turn, self._writes.begin() as connection:
            yield connection


@contextmanager
def _unavailable_is_one_error() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        if _is_our_mistake(error):
            raise
        raise StoreUnavailable(f"the database did not answer: {error}") from error


def _is_our_mistake(error: Exception) -> bool:
    """Whether trying again would not help."""
    # SQLite calls a missing table operational anyway.
    is_not_migrated = getattr(getattr(error, "orig", None), "sqlstate", None) in _NOT_MIGRATED
    return isinstance(error, IntegrityError | DataError | ProgrammingError) and not is_not_migrated
