"""The keys of a store: each method one transaction, as the store's own are."""

from collections.abc import Callable
from contextlib import suppress

from app.jobs.database import Transactions
from app.jobs.failures import StoreUnavailable
from app.jobs.store import admitting
from app.jobs.store.admitting import Key, NewKey, Principal


class Keyring:
    """Every key there ever was.  Each method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions) -> None:
        """Keep the keys where `transactions` lead."""
        self._transactions = transactions

    def create(self, name: str, *, is_admin: bool = False, weight: float | None = None) -> NewKey:
        """A new key for the principal of that name, who is made if there is none.  Raises: BadPrincipal."""
        with self._transactions.writing() as connection:
            return admitting.create_key(connection, name, is_admin, weight)

    def create_first(self, keep: Callable[[NewKey], None]) -> NewKey | None:
        """An admin's key if there never was a key; None if there is one, whoever made it.

        Of several that come at once, one makes it.  `keep` puts it where somebody finds it, before the commit:
        if that fails there is no key, and what was kept of a commit that failed is no key either.
        """
        with self._transactions.writing() as connection:
            made = admitting.create_first_key(connection)
            if made is not None:
                keep(made)
        return made

    def all(self) -> list[Key]:
        """Every key, also those that were revoked, oldest first."""
        with self._transactions.reading() as connection:
            return admitting.all_keys(connection)

    def revoke(self, key_id: str) -> None:
        """Let nobody in with this key from now on; again changes nothing.  Raises: NotFound."""
        with self._transactions.writing() as connection:
            admitting.revoke_key(connection, key_id)

    def exist(self) -> bool:
        """Whether there ever was a key."""
        with self._transactions.reading() as connection:
            return admitting.has_keys(connection)

    def admit(self, token: str) -> Principal | None:
        """Whose key `token` is; None if it is no valid one.  That it is used is written now and then."""
        with self._transactions.reading() as connection:
            admitted = admitting.admit(connection, token)
            is_due = admitted is not None and admitting.is_use_due(connection, admitted[1])
        if admitted is None:
            return None
        if is_due:
            # Nobody is kept out because this cannot be written just now.
            with suppress(StoreUnavailable), self._transactions.writing() as connection:
                admitting.write_use(connection, admitted[1])
        return admitted[0]
