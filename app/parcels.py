"""Many pictures in one file, which is made as it is sent: of no picture more than a piece is held in memory."""

import zipfile
from collections.abc import Iterator, Sequence
from typing import Final

from app.jobs.storage import Storage
from app.jobs.store import Image

PIECE_BYTES: Final = 64 << 10

# rw-r--r--, where whoever unpacks it looks for it.
_MODE = 0o644 << 16


def zipped(storage: Storage, images: Sequence[Image]) -> Iterator[bytes]:
    """A zip of the pictures, each as it was developed, in pieces.  They are compressed already, so it stores them.

    A file that cannot be read ends it in the middle, so that nobody takes it for whole.
    Raises: NoSuchFile; StorageError.
    """
    sent = _Sent()
    with zipfile.ZipFile(sent, "w") as parcel:
        for name, image in zip(names(images), images, strict=True):
            entry = zipfile.ZipInfo(name, image.created_at.timetuple()[:6])
            entry.file_size, entry.external_attr = image.size_bytes, _MODE
            with storage.open(image.key) as file, parcel.open(entry, "w") as packed:
                while piece := file.read(PIECE_BYTES):
                    packed.write(piece)
                    yield sent.take()
    yield sent.take()


def names(images: Sequence[Image]) -> list[str]:
    """A name for each picture, unlike any other here: its place in the order, and its seed."""
    digits = len(str(len(images)))
    return [f"darkroom-{place:0{digits}}-{image.seed}.{image.suffix}" for place, image in enumerate(images, 1)]


class _Sent:
    """What was written and not yet taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """Nor is there anything to let go."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
