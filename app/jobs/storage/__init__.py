"""Where files are kept.  A key is a relative path of plain names, such as `<job>/<attempt>-<index>.png`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from app.jobs.failures import BadKey, SettingsError

UNFINISHED = ".tmp"
"""Ends the name of a file that is still being written; no key ends so."""

# A name begins with a letter or digit: so it is never `..`, hidden, or empty.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Storage(Protocol):
    """What every storage does, from any thread; what cannot be done raises StorageError."""

    def put(self, key: str, data: bytes) -> None:
        """Store `data`; it is visible wholly or not at all, and survives the power going away.

        What is stored is never replaced: the same bytes may be put again, others are an error.
        Raises: BadKey; StorageFull.
        """

    def get(self, key: str) -> bytes:
        """What is stored under `key`.  Raises: BadKey; NoSuchFile."""

    def open(self, key: str) -> BinaryIO:
        """What is stored under `key`, to be read piece by piece.  Raises: BadKey; NoSuchFile."""

    def path(self, key: str) -> Path | None:
        """The file under `key`, if it exists and lies on this machine; else None.  Raises: BadKey."""

    def delete(self, key: str) -> None:
        """Remove `key`, or a name that `unfinished` gave; nothing happens if it is gone already."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with `prefix`, in any order."""

    def unfinished(self) -> Iterator[str]:
        """The names of files whose writing was begun and not ended."""

    def free_bytes(self) -> int | None:
        """How much more fits; None where nobody can tell."""

    def ping(self) -> None:
        """Return if the storage can be written to."""


def check_key(key: str) -> str:
    """The key itself, if a storage may have it.  Raises: BadKey."""
    if not _KEY.fullmatch(key) or key.endswith(UNFINISHED):
        raise BadKey(f"a key must be up to four plain names joined by '/', got {key!r}")
    return key


def image_key(job_id: str, attempt: int, index: int, suffix: str) -> str:
    """The key of a job's picture; `suffix` is png, webp or jpeg."""
    return f"{job_id}/{attempt}-{index}.{suffix}"


def thumbnail_key(job_id: str, attempt: int, index: int, side: int) -> str:
    """The key of a picture's thumbnail, which fits into a square of `side` pixels."""
    return f"{job_id}/{attempt}-{index}.thumb{side}.webp"


def thumbnail_of(key: str, side: int) -> str:
    """The key of the thumbnail of the picture under `key`."""
    return f"{key.rpartition('.')[0]}.thumb{side}.webp"


def steps_key(job_id: str, attempt: int, index: int, first: int) -> str:
    """The key of some steps of a picture, from step `first` on."""
    return f"{job_id}/{attempt}-{index}.x0-{first}.npy"


def open_storage(url: str) -> Storage:
    """The storage at `url`: file:///absolute/folder, or s3://bucket/prefix?option=value.

    Raises: SettingsError for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from app.jobs.storage.local import LocalStorage

        return LocalStorage(Path(unquote(parts.path)))
    prefix = unquote(parts.path).strip("/")
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc) and (not prefix or _KEY.fullmatch(prefix)):
        from app.jobs.storage.object import ObjectStorage

        return ObjectStorage(parts.netloc, prefix, dict(parse_qsl(parts.query)))
    shapes = "file:///absolute/folder or s3://bucket/prefix"
    raise SettingsError(f"a storage URL must be {shapes}, got {url.partition('?')[0]!r}")
