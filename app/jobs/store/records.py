"""What the store is told and what it answers: frozen facts, no behaviour of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from app.jobs.spec import Given, Params, PictureParams

Item = TypeVar("Item")


class State(StrEnum):
    """queued -> running, cancelled or failed; running -> succeeded, failed, cancelled or queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this state will never change again."""
        return self not in (State.QUEUED, State.RUNNING)


class Priority(StrEnum):
    """`low` jobs are taken when no `normal` one waits."""

    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What makes two requests one: the client's key, and the SHA-256 of what the request asks for.

    again_s: where a client has no key of its own and says that it asks again: how old the job may be that it asked for
    by another key of the same dialect.
    """

    key: str
    body_sha256: str
    again_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Denoising steps done and in all, summed over the job's images."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: `code` is an ErrorCode, `message` a sentence for a person."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds a finished job spent where.  `queued_s` ends at the claim of the attempt that ended it."""

    queued_s: float
    text_s: float
    denoise_s: float
    decode_s: float
    encode_s: float


@dataclass(frozen=True, slots=True)
class TrajectoryPart:
    """A file with the estimates after some steps of an image, from step `first` on (they are counted from 1)."""

    first: int
    steps: int
    key: str
    sha256: str

    def holds(self, step: int) -> bool:
        """Whether this step is in it."""
        return self.first <= step < self.first + self.steps


@dataclass(frozen=True, slots=True)
class Image:
    """One published picture, with the recipe of the job that made it, and its steps where they are kept."""

    id: str
    job_id: str
    index: int
    owner: str
    seed: int
    width: int
    height: int
    format: str
    sha256: str
    size_bytes: int
    key: str
    thumbnail_key: str
    model_revision: str
    fingerprint: str
    created_at: datetime
    params: PictureParams
    trajectory: tuple[TrajectoryPart, ...] = ()
    favourite: bool = False
    rating: int = 0
    tags: tuple[str, ...] = ()
    deleted_at: datetime | None = None
    """When its owner deleted it; such a one is shown only to those who ask for what was deleted."""

    @property
    def suffix(self) -> str:
        """The ending of its file's name."""
        return "jpg" if self.format == "jpeg" else self.format


@dataclass(frozen=True, slots=True)
class Opinion:
    """What its owner says of an image anew; None leaves what was said before.  `tags` are all it has."""

    favourite: bool | None = None
    rating: int | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its owner may see it.  Times are by the database's clock; images, or the result of an internal job,
    only once succeeded.
    """

    id: str
    owner: str
    task: str
    model: str
    model_revision: str | None
    params: Params
    warnings: tuple[str, ...]
    cost: float
    priority: Priority
    state: State
    attempt: int
    losses: int
    infra_failures: int
    cancel_requested: bool
    progress: Progress
    error: JobFailure | None
    timings: Timings | None
    images: tuple[Image, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """A picture that jobs may be made from: what is known of it, and where it is stored as PNG."""

    given: Given
    key: str
    size_bytes: int

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self.given.sha256


@dataclass(frozen=True, slots=True)
class Upload:
    """A blob that its owner may name until it expires."""

    id: str
    owner: str
    blob: Blob
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows, newest first; `next` is the cursor of the following page, None on the last."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job a worker holds until its lease ends.  `attempt` is the fencing token: it never comes again.

    `inputs` are the keys of the files it is made from, by role.
    A `solo` job has cost two workers their lives, or seemed to: it runs alone, so that nobody else's job is lost
    with a third.
    """

    job_id: str
    attempt: int
    owner: str
    params: Params
    inputs: Mapping[str, str] = field(default_factory=dict, compare=False)
    solo: bool = False


@dataclass(frozen=True, slots=True)
class ClaimBeat:
    """A worker's sign of life for one claim, with how far it has come."""

    job_id: str
    attempt: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a beat, as job ids: `lost` are no longer the worker's, `cancelled` no longer wanted."""

    lost: frozenset[str]
    cancelled: frozenset[str]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep changed, as job ids; `ring` says that claimable rows wait."""

    requeued: tuple[str, ...]
    failed: tuple[str, ...]
    cancelled: tuple[str, ...]
    ring: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that gave a sign of life within the last lease, what it serves, and what it says of itself."""

    name: str
    models: tuple[str, ...]
    facts: Mapping[str, Any]
    seen_at: datetime

    @property
    def loaded(self) -> tuple[str, ...]:
        """Those of its models that it has in memory."""
        return tuple(self.facts.get("loaded", ()))

    def can_do(self, model: str, second_model: str | None = None, fingerprint: str | None = None) -> bool:
        """Whether it serves the models and, where one is named, is of the fingerprint."""
        serves = model in self.models and second_model in (None, *self.models)
        return serves and fingerprint in (None, self.facts.get("fingerprint"))
