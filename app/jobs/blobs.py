"""Pictures on their way into the storage and out of it: the file comes before its row, and goes after it."""

from typing import TYPE_CHECKING

from app.jobs.storage import Storage
from app.jobs.store import Blob, Store

if TYPE_CHECKING:
    from app.jobs.pictures import Picture


def keep(store: Store, storage: Storage, picture: "Picture") -> Blob:
    """Store a picture, unless it is there already; it is kept for a while, and as long as something pins it.

    Raises: StoreUnavailable; StorageError.
    """
    known = store.find_blob(picture.given.sha256)
    if known is not None:
        return known
    key = store.new_blob_key(picture.given.sha256)
    storage.put(key, picture.data)
    kept = store.add_blob(Blob(picture.given, key, len(picture.data)))
    if kept.key != key:
        # Somebody stored the same picture meanwhile; nobody else ever knew of this file.
        storage.delete(key)
    return kept


def free(store: Store, storage: Storage) -> int:
    """Remove the pictures that nothing needs any more; returns how many.  Any process may do this at any time.

    A file whose row went and that is not deleted here, because the process ended in between, is an orphan.
    Raises: StoreUnavailable; StorageError.
    """
    removed = 0
    while keys := store.free_blobs():
        for key in keys:
            storage.delete(key)
        removed += len(keys)
    return removed
