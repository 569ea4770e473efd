"""Jobs, their pictures, and the uploads that they are made from."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, TypeAdapter

from app.jobs.spec import ImageToImageParams, InpaintParams, Params, SuperResolutionParams, TextToImageParams
from app.jobs.store import Image, Job, State, Upload
from app.schemas.answer import API, Answer


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


class _Developed(BaseModel):
    """What a recipe says once a worker has taken the job."""

    model_revision: str | None = Field(description="null until a worker has taken the job")


class TextToImageOut(TextToImageParams, _Developed):
    """The complete recipe: what was asked, with every default resolved."""


class ImageToImageOut(ImageToImageParams, _Developed):
    """The complete recipe; the picture it begins with is named by its sha256."""


class InpaintOut(InpaintParams, _Developed):
    """The complete recipe; picture and mask are named by their sha256."""


class SuperResolutionOut(SuperResolutionParams, _Developed):
    """The complete recipe; the picture that is made larger is named by its sha256."""


ParamsOut = Annotated[
    TextToImageOut | ImageToImageOut | InpaintOut | SuperResolutionOut,
    Field(discriminator="task"),
]

_PARAMS_OUT: TypeAdapter[ParamsOut] = TypeAdapter(ParamsOut)


def complete(params: Params, model_revision: str | None) -> ParamsOut:
    """`params`, and the revision of the model they were developed with."""
    return _PARAMS_OUT.validate_python({**params.model_dump(), "model_revision": model_revision})


class ImageOut(Answer):
    """One picture of a job."""

    id: str
    index: int
    seed: int
    width: int
    height: int
    sha256: str
    bytes: int
    url: str
    thumbnail_url: str

    @classmethod
    def of(cls, image: Image, **more: Any) -> Self:
        """The picture, with what a subclass says `more`."""
        return cls(
            id=image.id,
            index=image.index,
            seed=image.seed,
            width=image.width,
            height=image.height,
            sha256=image.sha256,
            bytes=image.size_bytes,
            url=f"{API}/images/{image.id}/content",
            thumbnail_url=f"{API}/images/{image.id}/thumbnail/256",
            **more,
        )


class ImageDetailOut(ImageOut):
    """One picture, with all that is known about how it was made."""

    job_id: str
    format: str
    params: ParamsOut
    fingerprint: str = Field(description="device and build; under the same one the same recipe is the same picture")
    created_at: datetime

    @classmethod
    def of(cls, image: Image, **more: Any) -> Self:
        """The picture as it stands for itself."""
        return super().of(
            image,
            job_id=image.job_id,
            format=image.format,
            params=complete(image.params, image.model_revision),
            fingerprint=image.fingerprint,
            created_at=image.created_at,
            **more,
        )


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
            error=None if job.error is None else ErrorOut(**asdict(job.error)),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            timings=_timings(job),
            links=LinksOut(self=here, events=f"{here}/events", cancel=f"{here}/cancel"),
        )


class UploadOut(Answer):
    """A picture that jobs may name as `upload:<id>` until it expires."""

    id: str
    width: int
    height: int
    sha256: str = Field(description="of the picture as it is kept: PNG without metadata")
    bytes: int
    expires_at: datetime

    @classmethod
    def of(cls, upload: Upload) -> Self:
        """The upload."""
        given = upload.blob.given
        return cls(
            id=upload.id,
            width=given.width,
            height=given.height,
            sha256=given.sha256,
            bytes=upload.blob.size_bytes,
            expires_at=upload.expires_at,
        )


class JobsOut(Answer):
    """Some jobs, newest first."""

    items: list[JobOut]
    next_cursor: str | None = Field(description="null on the last page; Link rel=next says the same")


class ImagesOut(Answer):
    """Some pictures, newest first."""

    items: list[ImageDetailOut]
    next_cursor: str | None = Field(description="null on the last page; Link rel=next says the same")


def _timings(job: Job) -> TimingsOut:
    if job.timings is not None:
        return TimingsOut(**asdict(job.timings))
    if job.started_at is None:
        return TimingsOut()
    return TimingsOut(queued_s=(job.started_at - job.created_at).total_seconds())
