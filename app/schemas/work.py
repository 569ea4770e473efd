"""Jobs as they are told."""

from dataclasses import asdict
from datetime import datetime
from typing import Self

from pydantic import Field

from app.jobs.quote import Quote
from app.jobs.store import Job, Place, State
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
    """When a job will probably start and finish, in seconds from now: as many are earlier as are later."""

    start_s: float
    finish_s: float

    @classmethod
    def of(cls, quote: Quote) -> Self:
        """The middle of what was quoted."""
        return cls(start_s=quote.start.p50, finish_s=quote.finish.p50)


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
    estimate: EstimateOut | None = Field(
        description="null once it has ended, while no worker serves its model, and while nobody knows how fast it is"
    )
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
    def of(cls, job: Job, place: Place) -> Self:
        """The job, at its place in the queue."""
        here = f"{API}/jobs/{job.id}"
        return cls(
            id=job.id,
            task=job.task,
            state=job.state,
            cancel_requested=job.cancel_requested,
            warnings=list(job.warnings),
            position=place.position,
            estimate=None if place.quote is None else EstimateOut.of(place.quote),
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
