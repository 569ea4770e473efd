"""Retention: what ended long ago is deleted, rows first, so that nothing ever names a file that is not there."""

import re
from dataclasses import dataclass
from typing import Final

from app.jobs.failures import SettingsError
from app.jobs.orphans import remove_orphans
from app.jobs.storage import Storage
from app.jobs.store import Store

UNITS_S: Final = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


@dataclass(frozen=True, slots=True)
class Gone:
    """What was deleted."""

    jobs: int
    images: int
    files: int
    orphans: int
    studies: int = 0


def seconds(words: str) -> int:
    """A time such as 30d, 12h or 4w; an hour at least.

    What ended a moment ago also says whose turn it is; so young, it stays.
    Raises: SettingsError.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", words)
    if found is None:
        raise SettingsError(f"--older-than must be a number of hours, days or weeks such as 12h or 30d, got {words!r}")
    return int(found[1]) * UNITS_S[found[2]]


def prune(store: Store, storage: Storage, older_than_s: float, *, dry_run: bool = False) -> Gone:
    """Delete what ended so long ago, then every file that no row needs; only count the former if `dry_run`.

    It may be killed anywhere: what it left, the next one or a worker finds.
    Raises: StoreUnavailable; StorageError.
    """
    jobs = images = studies = files = 0
    while not dry_run and store.ledger.tally():
        pass
    for prune_some in (store.ledger.prune, store.ledger.prune_studies):
        after: int | None = 0
        while after is not None:
            pruned = prune_some(older_than_s, after, keep=dry_run)
            if not dry_run:
                for key in pruned.keys:
                    storage.delete(key)
            jobs, images, studies = jobs + pruned.jobs, images + pruned.images, studies + pruned.studies
            files, after = files + len(pruned.keys), pruned.last
    return Gone(jobs, images, files, orphans=0 if dry_run else remove_orphans(store, storage), studies=studies)
