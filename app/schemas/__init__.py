"""What the API answers, as its clients see it.  What it may be asked lies in `app.jobs.spec`."""

from app.schemas.answer import API
from app.schemas.catalogue import LiveOut, ModelOut, ModelsOut, ReadyOut, SamplerOut, SamplersOut, VersionOut, WorkerOut
from app.schemas.jobs import ImageDetailOut, ImagesOut, JobOut, JobsOut, UploadOut

__all__ = [
    "API",
    "ImageDetailOut",
    "ImagesOut",
    "JobOut",
    "JobsOut",
    "LiveOut",
    "ModelOut",
    "ModelsOut",
    "ReadyOut",
    "SamplerOut",
    "SamplersOut",
    "UploadOut",
    "VersionOut",
    "WorkerOut",
]
