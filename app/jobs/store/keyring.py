"""The keys of a store, their limits and sessions: each method one transaction, as the store's own are."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection

from app.jobs.database import Transactions
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.store import admitting, quotas, sessions
from app.jobs.store.admitting import NO_LIMITS, Key, NewKey, Principal
from app.jobs.store.quotas import Limits, Quota
from app.jobs.store.sessions import NewSession


class Keyring:
    """Every key there ever was.  Each method raises StoreUnavailable while the database is away."""

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Keep the keys where `transactions` lead; `settings` say what counts where nothing else was said."""
        self._transactions = transactions
        self._settings = settings

    def create(
        self, name: str, *, is_admin: bool = False, weight: float | None = None, limits: Limits = NO_LIMITS
    ) -> NewKey:
        """A new key for the principal of that name, who is made if there is none.  Raises: BadPrincipal."""
        with self._transactions.writing() as connection:
            return admitting.create_key(connection, name, is_admin, weight, limits)

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

    def rotate(self, key_id: str, overlap_s: float = 0.0) -> NewKey:
        """Another key for the same name; the old one is good for the overlap and no longer.  Raises: NotFound."""
        with self._transactions.writing() as connection:
            return admitting.rotate_key(connection, key_id, overlap_s)

    def exist(self) -> bool:
        """Whether there ever was a key."""
        with self._transactions.reading() as connection:
            return admitting.has_keys(connection)

    def admit(self, token: str) -> Principal | None:
        """Whose key `token` is; None if it is no valid one.  That it is used is written now and then."""
        with self._transactions.reading() as connection:
            admitted = admitting.admit(connection, token)
            is_due = admitted is not None and admitting.is_use_due(connection, admitted[1])
            known = None if admitted is None else self._with_limit(connection, admitted[0])
        if admitted is not None:
            self._write_use(admitted[1], is_due)
        return known

    def limit(self, name: str, limits: Limits) -> None:
        """Say how much `name` may ask for; what is None stays as it is.  Raises: BadPrincipal."""
        with self._transactions.writing() as connection:
            quotas.set_limits(connection, name, limits)

    def quota(self, name: str) -> Quota:
        """How much `name` may ask for."""
        with self._transactions.reading() as connection:
            return quotas.quota(connection, name, self._settings)

    # Pages

    def sign_in(self, token: str) -> NewSession | None:
        """A session for whoever has this key; None if it is no valid one."""
        with self._transactions.writing() as connection:
            admitted = admitting.admit(connection, token)
            return None if admitted is None else sessions.begin(connection, admitted[1], self._settings.session_s)

    def admit_session(self, token: str) -> Principal | None:
        """Whose session `token` is; None if it has ended, or its key was revoked."""
        with self._transactions.reading() as connection:
            key_id = sessions.key_of(connection, token)
            if key_id is None:
                return None
            known = self._with_limit(connection, admitting.owner_of(connection, key_id))
            is_due = admitting.is_use_due(connection, key_id)
        self._write_use(key_id, is_due)
        return known

    def sign_out(self, token: str) -> None:
        """End the session, if there is one."""
        with self._transactions.writing() as connection:
            sessions.end(connection, token)

    def _with_limit(self, connection: Connection, known: Principal) -> Principal:
        limits = quotas.quota(connection, known.name, self._settings)
        return replace(known, requests_per_minute=limits.requests_per_minute)

    def _write_use(self, key_id: str, is_due: bool) -> None:
        if is_due:
            # Nobody is kept out because this cannot be written just now.
            with suppress(StoreUnavailable), self._transactions.writing() as connection:
                admitting.write_use(connection, key_id)
