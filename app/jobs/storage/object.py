"""Objects in an S3 store.

Endpoint, region and credentials come from the usual AWS_* variables; what the URL's query names wins over them.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, UnknownConfigurationKeyError
from obstore.store import S3Store

from app.jobs.failures import NoSuchFile, SettingsError, StorageError, StorageFull
from app.jobs.storage import UNFINISHED, check_key

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 60.0
RETRY_TIMEOUT_S = 10.0
MAX_RETRIES = 5

_READ_AHEAD_BYTES = 1 << 18

# How S3 stores say that nothing more fits; there is no one way.
_FULL = ("507 Insufficient Storage", "StorageFull", "QuotaExceeded")


class ObjectStorage:
    """A Storage (see there for the promises) in one bucket, or below one prefix of it.

    An object is there wholly or not at all, and is only ever created: nothing that is stored can be overwritten.
    """

    def __init__(self, bucket: str, prefix: str = "", options: Mapping[str, str] | None = None) -> None:
        """Keep objects in `bucket`, with keys that begin with `prefix`; `options` are obstore's.  Nothing is connected.

        Raises: SettingsError for options that obstore does not know.
        """
        given: dict[str, Any] = dict(options or {})
        endpoints = (given.get("endpoint"), os.environ.get("AWS_ENDPOINT_URL_S3"), os.environ.get("AWS_ENDPOINT_URL"))
        endpoint = next((each for each in endpoints if each), "")
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={
                    # Whoever names an endpoint without TLS means it.
                    "allow_http": endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                    "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
                },
                retry_config={
                    "max_retries": MAX_RETRIES,
                    "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
                    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
                },
                **given,
            )
        except (UnknownConfigurationKeyError, TypeError, ValueError) as error:
            raise SettingsError(f"the storage URL has an option that S3 does not know: {_first_line(error)}") from error
        except BaseError as error:
            raise SettingsError(f"the storage cannot be opened: {_first_line(error)}") from error

    def put(self, key: str, data: bytes) -> None:
        """Create the object; one that is there already must be the same."""
        check_key(key)
        with _errors_of(key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                # A request that was repeated because its answer was lost has done it the first time.
                if self.get(key) != data:
                    raise StorageError(f"something else is stored under {key!r} already") from None

    def get(self, key: str) -> bytes:
        """Fetch a whole object."""
        check_key(key)
        with _errors_of(key):
            return bytes(obstore.get(self._store, key).bytes())

    def open(self, key: str) -> BinaryIO:
        """Fetch an object as it is read."""
        check_key(key)
        with _errors_of(key):
            return cast(BinaryIO, io.BufferedReader(_Reader(self._store, key), _READ_AHEAD_BYTES))

    def path(self, key: str) -> Path | None:
        """No object lies on this machine."""
        check_key(key)
        return None

    def delete(self, key: str) -> None:
        """Remove the object."""
        check_key(key.removesuffix(UNFINISHED))
        with _errors_of(key):
            obstore.delete(self._store, key)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Ask for the keys of a folder, page by page."""
        # obstore knows prefixes of whole names only.
        folder = prefix.rpartition("/")[0]
        with _errors_of(prefix):
            for page in obstore.list(self._store, prefix=folder or None):
                yield from (found["path"] for found in page if found["path"].startswith(prefix))

    def unfinished(self) -> Iterator[str]:
        """There is no such thing here."""
        return iter(())

    def free_bytes(self) -> int | None:
        """Nobody can tell."""
        return None

    def ping(self) -> None:
        """Ask for the first page of nothing: the bucket is there, and lets us in."""
        with _errors_of("the bucket"):
            for _ in obstore.list(self._store, prefix="ping"):
                return


class _Reader(io.RawIOBase):
    """An object as a file.  Its errors are the storage's."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._key = key
        self._file = obstore.open_reader(store, key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        with _errors_of(self._key):
            data = bytes(self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _errors_of(key: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        text = str(error)
        if isinstance(error, NotFoundError | FileNotFoundError) and "NoSuchBucket" not in text:
            raise NoSuchFile(f"nothing is stored under {key!r}") from error
        kind = StorageFull if any(sign in text for sign in _FULL) else StorageError
        raise kind(f"the storage failed at {key!r}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
