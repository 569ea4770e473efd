"""The images of a store, as their owners look for them and keep them.  Each method one transaction."""

from collections.abc import Collection, Iterable, Sequence

from app.jobs.database import Transactions
from app.jobs.search import Search
from app.jobs.settings import Settings
from app.jobs.store import keeping, reading, searching
from app.jobs.store.records import Image, Opinion, Page

ALL = Search()


class Gallery:
    """Every image that can be seen.  Every method raises StoreUnavailable while the database is away.

    Where no owner is named, everybody's images are meant.
    """

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        """Keep the images where `transactions` lead."""
        self._transactions = transactions
        self._settings = settings

    def image(self, image_id: str, owner: str | None) -> Image:
        """One image that was not deleted.  Raises: NotFound."""
        with self._transactions.reading() as connection:
            return reading.image(connection, image_id, owner)

    def search(
        self, owner: str | None, wanted: Search = ALL, limit: int = 20, cursor: str | None = None
    ) -> Page[Image]:
        """The owner's images that fit, newest first.  Raises: BadCursor."""
        with self._transactions.reading() as connection:
            return searching.search(connection, owner, wanted, limit, cursor)

    def some(self, ids: Sequence[str], owner: str | None) -> list[Image]:
        """Those of these images that there are and that were not deleted, in the order they are named, each once."""
        with self._transactions.reading() as connection:
            return reading.some_images(connection, ids, owner)

    def tags(self, owner: str | None, limit: int = 100) -> list[tuple[str, int]]:
        """The tags that are used, and on how many images each, the most used first."""
        with self._transactions.reading() as connection:
            return searching.tags(connection, owner, limit)

    def judge(self, image_id: str, owner: str | None, opinion: Opinion) -> Image:
        """Write what the owner says of an image; saying it again changes nothing.  Raises: NotFound; TooManyTags."""
        with self._transactions.writing() as connection:
            keeping.judge(connection, image_id, owner, opinion)
            return reading.image(connection, image_id, owner)

    def tag(
        self, ids: Collection[str], owner: str | None, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> frozenset[str]:
        """Take tags from images and put others on them, all or none; returns the ids of those there are.

        Raises: TooManyTags.
        """
        with self._transactions.writing() as connection:
            return keeping.tag(connection, ids, owner, tuple(add), tuple(remove))

    def delete(self, ids: Collection[str], owner: str | None) -> frozenset[str]:
        """Let nobody see these images any more; they can be restored until they are removed for good.

        Returns the ids of those there are, whether they were deleted before or now.
        """
        with self._transactions.writing() as connection:
            return keeping.remove(connection, ids, owner)

    def restore(self, ids: Collection[str], owner: str | None) -> frozenset[str]:
        """Let deleted images be seen again; returns the ids of those there are, deleted or not."""
        with self._transactions.writing() as connection:
            return keeping.restore(connection, ids, owner)

    def forget(self) -> tuple[str, ...]:
        """Remove some of the images that were deleted long ago; returns the keys of the files to delete, after this."""
        with self._transactions.writing() as connection:
            return keeping.forget(connection, self._settings.keep_deleted_s)

    def add_file(self, image_id: str, key: str, kind: str) -> bool:
        """Say, before it is written, that a file made of an image lies under `key`.

        Returns whether there still is such an image; if not, the file must not be written.
        """
        with self._transactions.writing() as connection:
            return keeping.add_file(connection, image_id, key, kind)
