"""Files in a folder of this machine, or of one that is mounted here."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from app.jobs.failures import NoSuchFile, StorageError, StorageFull
from app.jobs.storage import UNFINISHED, check_key

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class LocalStorage:
    """A Storage (see there for the promises) in one folder.

    A file is written under another name, forced to the disk and then renamed, and the rename is forced to the
    disk as well: whoever can see the file sees all of it, also after the power went away.
    """

    def __init__(self, root: Path) -> None:
        """Keep files under `root`, which is made when the first one comes."""
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        """Write, fsync, rename, fsync the folder."""
        path = self._root / check_key(key)
        # A name of its own: of two who store the same at once, none may rename what the other is still writing.
        unfinished = path.with_name(f"{path.name}.{token_hex(4)}{UNFINISHED}")
        with _errors_of(key):
            if path.is_file():
                if path.read_bytes() != data:
                    raise StorageError(f"something else is stored under {key!r} already")
                _fsync_folder(path.parent)
                return
            _make_folder(path.parent)
            try:
                with unfinished.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except OSError:
                # A full disk gets its space back; what cannot be removed is the sweeper's.
                unfinished.unlink(missing_ok=True)
                raise
            _fsync_folder(path.parent)

    def get(self, key: str) -> bytes:
        """Read a whole file."""
        with self.open(key) as file:
            return file.read()

    def open(self, key: str) -> BinaryIO:
        """Open a file; it stays readable even if it is deleted meanwhile."""
        path = self._root / check_key(key)
        with _errors_of(key):
            try:
                return path.open("rb")
            except _NOTHING_THERE as error:
                raise NoSuchFile(f"nothing is stored under {key!r}") from error

    def path(self, key: str) -> Path | None:
        """Where the file lies."""
        path = self._root / check_key(key)
        return path if path.is_file() else None

    def delete(self, key: str) -> None:
        """Remove the file; its folder stays, since another file may be about to move in."""
        check_key(key.removesuffix(UNFINISHED))
        with _errors_of(key):
            (self._root / key).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Walk the folder."""
        return (key for key in self._walk() if key.startswith(prefix) and not key.endswith(UNFINISHED))

    def unfinished(self) -> Iterator[str]:
        """Walk the folder."""
        return (key for key in self._walk() if key.endswith(UNFINISHED))

    def free_bytes(self) -> int | None:
        """What the file system has left."""
        with _errors_of(str(self._root)):
            _make_folder(self._root)
            return shutil.disk_usage(self._root).free

    def ping(self) -> None:
        """Write nothing, but be sure that one could."""
        with _errors_of(str(self._root)):
            _make_folder(self._root)
            if not os.access(self._root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._root))

    def _walk(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root):
            for name in names:
                yield (Path(folder) / name).relative_to(self._root).as_posix()


@contextmanager
def _errors_of(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageError
        raise kind(f"the storage failed at {key!r}: {error.strerror or error}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each of them durable before anything is put into it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _fsync_folder(folder.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
