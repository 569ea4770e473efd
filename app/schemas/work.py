"""Jobs as they are told."""

from dataclasses import asdict
from datetime import datetime
from typing import Self

from pydantic import Field

from app.jobs.store import Job, State
from app.schemas.answer import API, Answer
from app.schemas.pictures import ImageOut
from app.schemas.recipes import ParamsOut, complete
from app.schemas.trajectories import DecodedOut, VerdictOut, result_of


class ProgressOut(Answer):
    """Denoising steps done and in all, summed over images and stages."""

    step: int
    steps: int


class ErrorOut(Answer):
    """Why a job failed: a stable code, and a sentence for a person."""

    code: str
    message: str


class EstimateOut(Answer):
    """When a job will probably start and finish, in seconds from now."""

    start_s: float
    finish_s: float


class TimingsOut(Answer):
    """Seconds a job spent where; null as long as it is not known."""

    queued_s: float | None = None
    text_s: float | None = None
    denoise_s: float | None = None
    decode_s: float | None = None
    encode_s: float | None = None


class LinksOut(Answer):
    """Where to go from a job."""

    self: str
    events: str
    cancel: str


class JobOut(Answer):
    """One job."""

    id: str
    task: str
    state: State
    cancel_requested: bool
    warnings: list[str]
    position: int | None = Field(description="how many jobs wait before this one; null unless it is queued")
    estimate: EstimateOut | None = Field(description="null while nothing is known about the workers' speed")
    progress: ProgressOut
    params: ParamsOut
    images: list[ImageOut]
    result: VerdictOut | DecodedOut | None = Field(description="what a job about an image found; null for all others")
    error: ErrorOut | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: TimingsOut
    links: LinksOut

    @classmethod
    def of(cls, job: Job, position: int | None) -> Self:
        """The job, at `position` in the queue."""
        here = f"{API}/jobs/{job.id}"
        return cls(
            id=job.id,
            task=job.task,
            state=job.state,
            cancel_requested=job.cancel_requested,
            warnings=list(job.warnings),
            position=position,
            estimate=None,
            progress=ProgressOut(**asdict(job.progress)),
            params=complete(job.params, job.model_revision),
            images=[ImageOut.of(image) for image in job.images],
            result=result_of(job),
            error=None if job.error is None else ErrorOut(**asdict(job.error)),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            timings=_timings(job),
            links=LinksOut(self=here, events=f"{here}/events", cancel=f"{here}/cancel"),
        )


class JobsOut(Answer):
    """Some jobs, newest first."""

    items: list[JobOut]
    next_cursor: str | None = Field(description="null on the last page; Link rel=next says the same")


def _timings(job: Job) -> TimingsOut:
    if job.timings is not None:
        return TimingsOut(**asdict(job.timings))
    if job.started_at is None:
        return TimingsOut()
    return TimingsOut(queued_s=(job.started_at - job.created_at).total_seconds())
