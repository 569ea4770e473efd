"""A worker's last word about an attempt, as it is told to the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.jobs.store.records import TrajectoryPart


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """One picture that lies in the storage and waits for the commit that publishes it."""

    index: int
    seed: int
    width: int
    height: int
    sha256: str
    size_bytes: int
    key: str
    thumbnail_key: str
    trajectory: tuple[TrajectoryPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The pictures are made.  `timings` has text_s, denoise_s, decode_s, encode_s."""

    images: tuple[PublishedImage, ...]
    timings: Mapping[str, float]
    model_revision: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An internal job is done: what came of it (JSON), and the key of the picture that it made, if it made one."""

    result: Mapping[str, Any]
    timings: Mapping[str, float]
    model_revision: str
    decoded_key: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot be done, and trying again would not help."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The worker dropped the job because it was asked to."""


Outcome = Succeeded | Answered | Failed | Cancelled
