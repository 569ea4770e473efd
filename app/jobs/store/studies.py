"""The studies of a store: each method one transaction, as the store's own are."""

from collections.abc import Sequence

from app.jobs.database import Transactions
from app.jobs.settings import Settings
from app.jobs.store import study_files, studying
from app.jobs.store.studying import Choice, NewStudy, NewTrial, Pair, Study, Trial


class Studies:
    """Every study there is.  Each method raises StoreUnavailable while the database is away.

    Those that name a study raise NotFound if it is somebody else's; where no owner is named, none is.
    """

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Keep the studies where `transactions` lead; `settings` say how long a file may wait for its row."""
        self._transactions = transactions
        self._settings = settings

    def new_keys(self, count: int) -> list[str]:
        """Where to write so many pictures of a new study: keys that nobody ever had."""
        with self._transactions.reading() as connection:
            return study_files.new_keys(connection, count)

    def create(self, owner: str, new: NewStudy) -> str:
        """A new study, whose pictures lie in the storage already, under `new_keys`; returns its id."""
        with self._transactions.writing() as connection:
            keys = [key for pair in new.pairs for key in (pair.a_key, pair.b_key)]
            study_files.check_fresh(connection, keys, self._settings.unpinned_s)
            return studying.create(connection, owner, new)

    def all(self, owner: str | None) -> list[Study]:
        """The owner's studies, newest first."""
        with self._transactions.reading() as connection:
            return studying.all_of(connection, owner)

    def get(self, study_id: str, owner: str | None) -> Study:
        """One study."""
        with self._transactions.reading() as connection:
            return studying.one(connection, study_id, owner)

    def pairs(self, study_id: str, owner: str | None) -> list[Pair]:
        """What is shown in it, in pairs."""
        with self._transactions.reading() as connection:
            studying.one(connection, study_id, owner)
            return studying.pairs(connection, study_id)

    def begin(self, study_id: str, owner: str | None, rater: str, trials: Sequence[NewTrial]) -> str:
        """Let a new rater begin, who will see these in this order; returns the rater's id."""
        with self._transactions.writing() as connection:
            studying.one(connection, study_id, owner)
            return studying.begin(connection, study_id, rater, trials)

    def trials(self, study_id: str, owner: str | None, rater_id: str | None = None) -> list[Trial]:
        """All that is shown, or what one rater is shown, with the answers there are."""
        with self._transactions.reading() as connection:
            studying.one(connection, study_id, owner)
            return studying.trials(connection, study_id, rater_id)

    def answer(self, study_id: str, owner: str | None, trial_id: str, choice: Choice) -> str:
        """Keep the first answer to a trial; returns the rater's id."""
        with self._transactions.writing() as connection:
            studying.one(connection, study_id, owner)
            return studying.answer(connection, study_id, trial_id, choice)

    def picture_key(self, token: str, owner: str | None) -> str:
        """Where the picture lies that a rater knows by this token."""
        with self._transactions.reading() as connection:
            return studying.picture_key(connection, token, owner)

    def forget(self, study_id: str, owner: str | None) -> list[str]:
        """Delete a study; the caller deletes the files under these keys afterwards."""
        with self._transactions.writing() as connection:
            return studying.forget(connection, study_id, owner)
