"""How a picture was developed, as it is told: its steps, and what was found when it was developed again."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from app.jobs.spec import DecodeParams, VerifyParams
from app.jobs.store import Image, Job
from app.schemas.answer import API, Answer


class StepOut(Answer):
    """One step of an image, of which the estimate of the picture is kept."""

    step: int = Field(description="counted from 1, over both stages of a picture that was made larger")
    decoded: bool = Field(description="whether its picture is there already")
    url: str = Field(description="POST decodes it; GET is its picture once it is decoded")


class TrajectoryOut(Answer):
    """The steps of an image that are kept."""

    image_id: str
    steps: list[StepOut]

    @classmethod
    def of(cls, image: Image, steps: range, decoded: Mapping[int, Any]) -> Self:
        """These steps, of which some are decoded."""
        here = f"{API}/images/{image.id}/trajectory"
        told = [StepOut(step=step, decoded=step in decoded, url=f"{here}/{step}") for step in steps]
        return cls(image_id=image.id, steps=told)


class VerdictOut(Answer):
    """What came of developing an image again."""

    equal: bool = Field(description="whether every pixel is the same")
    same_file: bool = Field(description="whether the file is the same, too")
    differing_pixels: int
    largest_difference: int = Field(description="of a channel, in levels of 255")
    sha256: str = Field(description="of the file as it was made again")
    model_revision: str
    fingerprint: str


class DecodedOut(Answer):
    """The picture of one step."""

    step: int
    width: int
    height: int
    sha256: str
    bytes: int
    url: str


def result_of(job: Job) -> VerdictOut | DecodedOut | None:
    """What an internal job found; None for others, and before the end."""
    if job.result is None:
        return None
    match job.params:
        case VerifyParams():
            return VerdictOut(**job.result)
        case DecodeParams(image=image, step=step):
            facts = {name: job.result[name] for name in ("step", "width", "height", "sha256")}
            url = f"{API}/images/{image}/trajectory/{step}"
            return DecodedOut(**facts, bytes=job.result["size_bytes"], url=url)
        case _:
            return None
