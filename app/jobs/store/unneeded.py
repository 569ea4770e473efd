"""Files that no row needs, whatever kind of row they were for."""

from collections.abc import Iterable

from sqlalchemy import Connection

from app.jobs.store import inputs, study_files, sweeping


def unneeded(connection: Connection, keys: Iterable[str], unpinned_s: float) -> set[str]:
    """Those of the files `keys`, of jobs, blobs and studies, that no row needs now or ever will again."""
    keys = list(keys)
    of_jobs = sweeping.orphans(connection, keys)
    return of_jobs | inputs.orphans(connection, keys, unpinned_s) | study_files.orphans(connection, keys, unpinned_s)
