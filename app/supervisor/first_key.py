"""The key that a service makes for itself, so that it never listens beyond its machine without one."""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread

from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.store import NewKey, open_store
from app.supervisor.errors import Refused


def make_first_key(settings: Settings, path: Path, say: Callable[[str], None]) -> None:
    """Make an admin's key where none was ever made and others than this machine can call; write it to `path`.

    It is said once, by the one process of several that made it.  While the database is away nobody is let in,
    and the key is made in the background when it is back.
    Raises: Refused if the file cannot be written; then there is no key.
    """
    if settings.is_for_this_machine:
        return
    try:
        _make(settings, path, say)
    except StoreUnavailable:
        Thread(target=_make_later, args=(settings, path, say), name="first-key", daemon=True).start()


def _make_later(settings: Settings, path: Path, say: Callable[[str], None]) -> None:
    while True:
        time.sleep(settings.sweep_s)
        try:
            _make(settings, path, say)
        except StoreUnavailable:
            continue
        except Refused as error:
            say(f"darkroom: {error}")
        return


def _make(settings: Settings, path: Path, say: Callable[[str], None]) -> None:
    with closing(open_store(settings)) as store:
        made = store.keys.create_first(lambda key: _keep(key, path))
    if made is not None:
        say(f"The first key, an admin's, is told this once and kept in {path}: {made.token}")


def _keep(key: NewKey, path: Path) -> None:
    """Write the key for this user's eyes alone; what is found under the name is a whole key at every moment."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0600, whatever the umask says.
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "w") as file:
                file.write(f"{key.token}\n")
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).replace(path)
        except OSError:
            Path(unfinished).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Refused(f"--first-key must be a file that can be written, got {path}: {error.strerror}.") from None
