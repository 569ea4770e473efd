"""One job on its way through the engine, and what the errors of a pipeline mean for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from app.jobs.failures import ErrorCode, Reason
from app.jobs.store import Failed
from models import ModelError, NonFinite
from worker.engine import Model, Seconds
from worker.leases import Lease
from worker.reporting import Reporter
from worker.residency import CannotLoad

if TYPE_CHECKING:
    import numpy as np

    from models import Request, Row

log = structlog.get_logger()


INTERNAL = Failed(ErrorCode.INTERNAL, ErrorCode.INTERNAL.message)


def verdict(error: Exception, is_out_of_memory: Callable[[Exception], bool]) -> Failed | Reason:
    """What an error of the pipeline means for its job: it has failed, or it may go better another time."""
    if isinstance(error, NonFinite):
        return Failed(ErrorCode.NON_FINITE, ErrorCode.NON_FINITE.message)
    if isinstance(error, CannotLoad):
        return Failed(ErrorCode.MODEL_BROKEN, ErrorCode.MODEL_BROKEN.message)
    if is_out_of_memory(error):
        return Reason.OUT_OF_MEMORY
    if isinstance(error, ModelError):
        return Failed(ErrorCode.BAD_PARAMS, f"{ErrorCode.BAD_PARAMS.message} {error}")
    return INTERNAL


class Outlet(Protocol):
    """Where what is developed goes. Nothing here blocks; after one of the last three nothing more comes."""

    @property
    def is_wanted(self) -> bool:
        """Whether anything may still come of it."""

    def keep(self, index: int, step: int, x0: Any) -> None:
        """What image `index` was estimated to be after `step`, if that is to be kept."""

    def add(self, index: int, seed: int, pixels: np.ndarray) -> None:
        """Image `index` is done."""

    def publish(self, seconds: Seconds) -> None:
        """All images were added, which took `seconds`."""

    def fail(self, failure: Failed) -> None:
        """The job has failed."""

    def abandon(self) -> None:
        """Nothing comes any more: the lease says why."""


class Development:
    """One claimed job, or one picture of it, as the engine sees it: it answers and passes on, and never blocks."""

    def __init__(
        self,
        lease: Lease,
        reporter: Reporter,
        is_out_of_memory: Callable[[Exception], bool],
        pipeline: Model,
        request: Request,
        outlet: Outlet,
        *,
        step_cost: float,
        keeps_steps: bool = False,
        first_index: int = 0,
        first_step: int = 0,
    ) -> None:
        """Develop `request`, for the job of `lease`, on `pipeline`.

        Its first row is the job's image `first_index`, which has taken `first_step` steps before.
        """
        self.pipeline = pipeline
        self.request = request
        self.owner = lease.claim.owner
        self.is_low = lease.claim.params.priority == "low"
        self.step_cost = step_cost
        self._lease = lease
        self._keeps_steps = keeps_steps
        self._first_index = first_index
        self._first_step = first_step
        self._outlet = outlet
        self._reporter = reporter
        self._is_out_of_memory = is_out_of_memory

    def is_wanted(self) -> bool:
        """Whether the job is still this worker's to do, and can still be done."""
        return self._lease.is_held and self._outlet.is_wanted

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        """Count the steps, and show the last row of the batch as it looks now."""
        self._lease.step += len(batch)
        if self._keeps_steps:
            for row in batch:
                self._outlet.keep(self._first_index + row.index, self._first_step + row.step, row.x0)
        shown = batch[-1]
        self._reporter.progress(self._lease, self._first_index + shown.index, self.pipeline, shown.x0)

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        """Have one image written while the next one is developed."""
        self._outlet.add(self._first_index + row.index, row.seed, pixels)

    def completed(self, seconds: Seconds) -> None:
        """Have the job published."""
        self._outlet.publish(seconds)

    def dropped(self) -> None:
        """Have the row told why nothing comes."""
        self._outlet.abandon()

    def failed(self, error: Exception) -> None:
        """Have the row told what went wrong."""
        meaning = verdict(error, self._is_out_of_memory)
        is_surprise = meaning == INTERNAL
        log.error(
            "job.error",
            job_id=self._lease.claim.job_id,
            error=repr(error),
            exc_info=error if is_surprise else None,
        )
        if isinstance(meaning, Reason):
            self._lease.end(meaning)
            self._outlet.abandon()
        else:
            self._outlet.fail(meaning)
