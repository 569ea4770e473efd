"""What can go wrong with a job, and the errors this package raises.

JobsError
  SettingsError            a setting is unknown, ill-typed or contradicts another
  SpecError                a wish that the catalogue does not allow (field, value, message)
  UnknownModel             a model name that no worker ever registered
  CatalogueEmpty           no worker ever registered any model
  NotFound                 no such row, or somebody else's
  BadPicture               bytes that are no picture, or one that is not taken (the text says what is)
  Busy                     too much is asked at once; the same call may work later
  InputGone                a picture that a job needs is not stored any more
  NotCancellable           the job has already succeeded or failed
  IdempotencyConflict      the key of another request, used for this one
  BadPrincipal             a name, or a right, that a principal cannot have
  QueueFull                as many jobs wait as the settings allow
  QuotaReached             a principal has as much as it may have; later there may be room again
  TooCostly                a job that is larger than its principal's may be
  BadCursor                a page cursor that this service never gave out
  BadSearch                what is searched for cannot be read
  TooManyTags              an image would have more tags than it may
  StoreUnavailable         the database is away, locked or full
  StorageError             the file storage did not do what was asked
    BadKey                 a key that no storage may have
    NoSuchFile             nothing is stored under the key
    StorageFull            no space is left
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a job failed: `error.code` of a job, stable for clients."""

    WORKER_LOST = "worker_lost"
    OUT_OF_MEMORY = "out_of_memory"
    INFRASTRUCTURE = "infrastructure"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_BROKEN = "model_broken"
    NON_FINITE = "nan"
    BAD_PARAMS = "bad_params"
    INPUT_LOST = "input_lost"
    INTERNAL = "internal"

    @property
    def message(self) -> str:
        """The failure as one sentence for the person who asked for the picture."""
        return _MESSAGES[self]


_MESSAGES = {
    ErrorCode.WORKER_LOST: "The worker was lost each time it ran this job, so it was given up.",
    ErrorCode.OUT_OF_MEMORY: "The device has too little memory for this job; ask for a smaller size.",
    ErrorCode.INFRASTRUCTURE: "The service could not run this job, however often it tried; ask later.",
    ErrorCode.MODEL_UNAVAILABLE: "No worker has offered this job's model for too long.",
    ErrorCode.MODEL_BROKEN: "The worker could not load this job's model; its log has the details.",
    ErrorCode.NON_FINITE: "The model made no picture of this; try another sampler, scale or seed.",
    ErrorCode.BAD_PARAMS: "The model refused these parameters.",
    ErrorCode.INPUT_LOST: "A picture this job is made from is not stored any more; submit the job again.",
    ErrorCode.INTERNAL: "Something went wrong inside the service; its log has the details.",
}


class Reason(StrEnum):
    """Why a worker gives a running job back; none of them is the job's fault."""

    SHUTDOWN = "shutdown"
    DISK_FULL = "disk_full"
    STORAGE = "storage"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def error_code(self) -> ErrorCode:
        """The code of a job that was given back too often, the last time for this reason."""
        return ErrorCode.OUT_OF_MEMORY if self is Reason.OUT_OF_MEMORY else ErrorCode.INFRASTRUCTURE


class JobsError(Exception):
    """Root of everything this package raises on purpose."""


class SettingsError(JobsError):
    """A setting is unknown, ill-typed or contradicts another; the text says which and what is allowed."""


class SpecError(JobsError):
    """What a client asked for is not something the model can do.

    `message` says what is allowed and does not repeat the value, so it may be sent to a client.
    """

    def __init__(self, field: str, value: object, message: str) -> None:
        """Blame `field`, which had `value`; `message` continues the sentence that the field begins."""
        super().__init__(f"{field} {message}, got {value!r}")
        self.field = field
        self.value = value
        self.message = message


class UnknownModel(JobsError):
    """No worker ever registered a model of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        """Blame `name`; `known` are the names that would have been accepted."""
        super().__init__(f"model must be one of {', '.join(known)}, got {name!r}")
        self.name = name
        self.known = known


class CatalogueEmpty(JobsError):
    """No worker ever registered a model, so nothing can be checked or promised yet."""


class NotFound(JobsError):
    """There is no such row, or it belongs to somebody else."""


class BadPicture(JobsError):
    """Bytes that are no picture, or one that is not taken; the text continues a sentence that a field begins."""


class Busy(JobsError):
    """Too much is asked of this process at once; the same call may work later."""


class InputGone(JobsError):
    """A picture that a job needs is not stored any more."""

    def __init__(self, role: str) -> None:
        """Blame the picture in this role."""
        super().__init__(f"the {role} is not stored any more")
        self.role = role


class NotCancellable(JobsError):
    """The job has already ended with a result of its own."""

    def __init__(self, job_id: str, state: str) -> None:
        """Blame the job, which is in `state`."""
        super().__init__(f"job {job_id} cannot be cancelled: it has already {state}")
        self.job_id = job_id
        self.state = state


class IdempotencyConflict(JobsError):
    """The idempotency key was used before, for a request that asked for something else."""


class BadPrincipal(JobsError):
    """A name, a weight or a right that a principal cannot have; the text says what is allowed."""


class QueueFull(JobsError):
    """As many jobs wait as the settings allow."""

    def __init__(self, limit: int) -> None:
        """Name the limit that is reached."""
        super().__init__(f"the queue is full: {limit} jobs are waiting")
        self.limit = limit


class QuotaReached(JobsError):
    """A principal has as much of something as it may have; the text says how much that is."""

    def __init__(self, sentence: str, retry_after_s: float) -> None:
        """Say what the limit is, and in how many seconds there may be room again."""
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class TooCostly(JobsError):
    """A job that is larger than its principal's may be."""

    def __init__(self, cost: float, limit: float) -> None:
        """Name the limit, and what the job would cost."""
        super().__init__(f"the job costs {cost:g} (pixels x steps x images), and {limit:g} is the most for this key")
        self.cost = cost
        self.limit = limit


class BadCursor(JobsError):
    """A page cursor that this service never gave out."""


class BadSearch(JobsError):
    """What is searched for cannot be read.  `message` says what is allowed and repeats nothing of it."""

    def __init__(self, field: str, message: str) -> None:
        """Blame the parameter `field`; `message` continues the sentence that it begins."""
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


class TooManyTags(JobsError):
    """An image would have more tags than it may."""

    def __init__(self, limit: int) -> None:
        """Name the limit."""
        super().__init__(f"an image may have at most {limit} tags")
        self.limit = limit


class StoreUnavailable(JobsError):
    """The database is away, locked or full; the same call may work later."""


class StorageError(JobsError):
    """The file storage did not do what was asked; the same call may work later."""


class BadKey(StorageError):
    """A key that no storage may have."""


class NoSuchFile(StorageError):
    """Nothing is stored under the key."""


class StorageFull(StorageError):
    """No space is left where files are stored."""
