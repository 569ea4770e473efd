"""The schema's history.  `migrate` brings a database to its newest version, from an installed package too."""

from sqlalchemy import text

from app.jobs.database import Transactions, open_engine
from app.jobs.settings import Settings

# Any number, as long as nobody else locks it: PostgreSQL's way of letting one process migrate at a time.
_ADVISORY_LOCK = 0x6461726B


def migrate(settings: Settings, version: str = "head") -> None:
    """Bring the database to a version of the schema, the newest unless another is named, in one transaction.

    Processes that come at once wait in turn.

    Raises: StoreUnavailable.
    """
    # Alembic brings every SQL dialect there is: a fifth of what the front door would import, for nothing.
    from alembic import command
    from alembic.config import Config

    engine = open_engine(settings)
    try:
        with Transactions(engine).writing() as connection:
            if connection.dialect.name == "postgresql":
                # A large table takes as long as it takes, and so does whoever migrates before us.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            config = Config()
            config.set_main_option("script_location", "app.jobs:migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, version)
    finally:
        engine.dispose()
