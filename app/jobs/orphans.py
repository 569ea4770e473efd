"""The sweep of files: what a lost attempt left, what was deleted long ago, and pictures that no job and no study needs,
are removed, nothing else."""

from collections.abc import Iterable
from itertools import chain

from app.jobs import blobs
from app.jobs.storage import Storage
from app.jobs.store import Store

_AT_ONCE = 1000


def remove_orphans(store: Store, storage: Storage) -> int:
    """Delete every file of a job, blob or study that no row needs now or ever will again; returns how many there were.

    Any process may do this at any time: a file that was an orphan once stays one.
    Raises: StoreUnavailable; StorageError.
    """
    removed = _forget(store, storage) + blobs.free(store, storage)
    waiting: list[str] = []
    for key in chain(storage.unfinished(), storage.list()):
        waiting.append(key)
        if len(waiting) == _AT_ONCE:
            removed += _remove(store, storage, waiting)
            waiting = []
    return removed + _remove(store, storage, waiting)


def _forget(store: Store, storage: Storage) -> int:
    """Remove the images that were deleted long ago, rows first: a file that is left is an orphan."""
    removed = 0
    while keys := store.gallery.forget():
        for key in keys:
            storage.delete(key)
        removed += len(keys)
    return removed


def _remove(store: Store, storage: Storage, keys: Iterable[str]) -> int:
    orphans = store.orphans(keys)
    for key in orphans:
        storage.delete(key)
    return len(orphans)
