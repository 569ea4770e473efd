"""A job's words -> a pipeline's words, and one job on its way through the engine. The only place that knows both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never

import structlog

import models
from app.jobs.failures import ErrorCode, Reason
from app.jobs.spec import ImageToImageParams, InpaintParams, Params, SuperResolutionParams, TextToImageParams
from app.jobs.store import Failed
from models import ModelError, NonFinite
from worker import pictures
from worker.engine import Seconds
from worker.leases import Lease
from worker.publishing import Publication
from worker.reporting import Reporter
from worker.residency import CannotLoad

if TYPE_CHECKING:
    import numpy as np

    from models import Pipeline, Request, Row

log = structlog.get_logger()


Inputs = Mapping[str, bytes]
"""The pictures that a job is made from, by role, as the front door stored them."""

NO_INPUTS: Inputs = {}


def request_of(params: Params, inputs: Inputs) -> Request:
    """What the pipeline is asked for this job."""
    match params:
        case TextToImageParams():
            return text_to_image(params)
        case ImageToImageParams():
            return image_to_image(params, inputs["image"])
        case InpaintParams():
            return inpaint(params, inputs["image"], inputs["mask"])
        case SuperResolutionParams():
            return super_resolution(params, inputs["image"])
        case _:
            assert_never(params)


def text_to_image(params: TextToImageParams) -> models.TextToImage:
    """What the pipeline is asked for a picture from words."""
    return models.TextToImage(width=params.width, height=params.height, **_prompted(params))


def image_to_image(params: ImageToImageParams, image: bytes) -> models.ImageToImage:
    """What the pipeline is asked for a picture from a picture and words."""
    picture = pictures.colours(image, (params.width, params.height))
    return models.ImageToImage(image=picture, strength=params.strength, **_prompted(params))


def inpaint(params: InpaintParams, image: bytes, mask: bytes) -> models.Inpaint:
    """What the pipeline is asked for a part of a picture painted anew."""
    size = params.width, params.height
    return models.Inpaint(
        image=pictures.colours(image, size),
        mask=pictures.marked(mask, params.mask_mode, size),
        strength=params.strength,
        feather=params.feather,
        **_prompted(params),
    )


def super_resolution(params: SuperResolutionParams, image: bytes) -> models.SuperResolution:
    """What the pipeline is asked for a picture made larger."""
    return models.SuperResolution(
        image=pictures.colours(image), scale=params.scale, consistent=params.consistent, **_prompted(params)
    )


def _prompted(params: Params) -> dict[str, Any]:
    return {
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "prompt_syntax": params.prompt_syntax,
        "seed": params.seed,
        "num_steps": params.steps,
        "guidance_scale": params.guidance_scale,
        "guidance_interval": params.guidance_interval,
        "sampler": params.sampler,
        "eta": params.eta,
        "num_images": params.num_images,
    }


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


class Development:
    """One claimed job as the engine sees it: it answers and passes on, and never blocks."""

    def __init__(
        self,
        lease: Lease,
        pipeline: Pipeline,
        publication: Publication,
        reporter: Reporter,
        is_out_of_memory: Callable[[Exception], bool],
        inputs: Inputs = NO_INPUTS,
    ) -> None:
        """Develop the job of `lease`, which is made from `inputs`, on `pipeline`."""
        self.pipeline = pipeline
        self.request = request_of(lease.claim.params, inputs)
        self.owner = lease.claim.owner
        self.is_low = lease.claim.params.priority == "low"
        self.step_cost = float(lease.claim.params.pixels)
        self._lease = lease
        self._publication = publication
        self._reporter = reporter
        self._is_out_of_memory = is_out_of_memory

    def is_wanted(self) -> bool:
        """Whether the job is still this worker's to do."""
        return self._lease.is_held

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        """Count the steps, and show the last row of the batch as it looks now."""
        self._lease.step = sum(row.step for row in rows)
        shown = batch[-1]
        self._reporter.progress(self._lease, shown.index, self.pipeline, shown.x0)

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        """Have one image written while the next one is developed."""
        self._publication.add(row.index, row.seed, pixels)

    def completed(self, seconds: Seconds) -> None:
        """Have the job published."""
        self._publication.publish(seconds)

    def dropped(self) -> None:
        """Have the row told why nothing comes."""
        self._publication.abandon()

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
            self._publication.abandon()
        else:
            self._publication.fail(meaning)
