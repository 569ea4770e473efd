"""What the API answers, as its clients see it.  What it may be asked lies in `app.jobs.spec`."""

from app.schemas.answer import API, Answer
from app.schemas.keeping import MAX_IDS, BulkIn, BulkOut, DeleteIn, OpinionIn, RestoreIn, TagIn, ZipIn
from app.schemas.pictures import ImageDetailOut, ImageOut, ImagesOut, UploadOut
from app.schemas.quotes import QuoteOut, RangeOut
from app.schemas.recipes import ParamsOut, RecipeOut, complete
from app.schemas.service import LiveOut, ModelOut, ModelsOut, ReadyOut, SamplerOut, SamplersOut, VersionOut, WorkerOut
from app.schemas.trajectories import DecodedOut, StepOut, TrajectoryOut, VerdictOut
from app.schemas.work import ErrorOut, EstimateOut, JobOut, JobsOut, LinksOut, ProgressOut, TimingsOut

__all__ = [
    "API",
    "MAX_IDS",
    "Answer",
    "BulkIn",
    "BulkOut",
    "DecodedOut",
    "DeleteIn",
    "ErrorOut",
    "EstimateOut",
    "ImageDetailOut",
    "ImageOut",
    "ImagesOut",
    "JobOut",
    "JobsOut",
    "LinksOut",
    "LiveOut",
    "ModelOut",
    "ModelsOut",
    "OpinionIn",
    "ParamsOut",
    "ProgressOut",
    "QuoteOut",
    "RangeOut",
    "ReadyOut",
    "RecipeOut",
    "RestoreIn",
    "SamplerOut",
    "SamplersOut",
    "StepOut",
    "TagIn",
    "TimingsOut",
    "TrajectoryOut",
    "UploadOut",
    "VerdictOut",
    "VersionOut",
    "WorkerOut",
    "ZipIn",
    "complete",
]
