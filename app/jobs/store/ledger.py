"""The books of a store, for whoever runs it: what is measured, chosen and deleted.  Each method one transaction."""

from sqlalchemy import select

from app.jobs.database import Transactions
from app.jobs.settings import Settings
from app.jobs.store import measuring, pruning, tallying
from app.jobs.store.measuring import Measured
from app.jobs.store.pruning import Pruned
from app.jobs.store.rows import upsert
from app.jobs.tables import choices

_DEFAULT_MODEL = "default_model"
_PRUNE_AT_ONCE = 500
_STUDIES_AT_ONCE = 20


class Ledger:
    """What a store can tell of itself.  Every method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Keep the books where `transactions` lead."""
        self._transactions = transactions
        self._settings = settings

    def measure(self) -> Measured:
        """The service at this moment."""
        with self._transactions.reading() as connection:
            return measuring.measure(connection, self._settings.lease_s)

    def tally(self) -> int:
        """Count some of the jobs that ended since, as a sweep does; returns how many."""
        with self._transactions.writing() as connection:
            return tallying.tally(connection)

    def prune(self, older_than_s: float, after: int = 0, *, keep: bool = False) -> Pruned:
        """Delete some of the jobs that ended so long ago, from number `after` on; only count them where `keep`.

        The caller deletes the files afterwards, and comes again until there are no more.
        """
        transaction = self._transactions.reading() if keep else self._transactions.writing()
        with transaction as connection:
            return pruning.prune(connection, older_than_s, after, _PRUNE_AT_ONCE, keep=keep)

    def prune_studies(self, older_than_s: float, after: int = 0, *, keep: bool = False) -> Pruned:
        """The same for studies that nobody began or answered since."""
        transaction = self._transactions.reading() if keep else self._transactions.writing()
        with transaction as connection:
            return pruning.prune_studies(connection, older_than_s, after, _STUDIES_AT_ONCE, keep=keep)

    def default_model(self) -> str:
        """The model for those who name none: the environment's, else the one that was chosen, else the built-in."""
        if "default_model" in self._settings.model_fields_set:
            return self._settings.default_model
        with self._transactions.reading() as connection:
            chosen = connection.execute(select(choices.c.value).where(choices.c.name == _DEFAULT_MODEL)).scalar()
        return self._settings.default_model if chosen is None else chosen

    def choose_default_model(self, name: str) -> None:
        """Let every process whose environment names no default take this one."""
        with self._transactions.writing() as connection:
            upsert(connection, choices, {"name": _DEFAULT_MODEL, "value": name})
