"""A job's words -> a pipeline's words, and one job on its way through the engine. The only place that knows both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, assert_never

import numpy as np
import structlog

import models
from app.jobs.failures import ErrorCode, Reason
from app.jobs.spec import (
    ESTIMATES,
    DecodeParams,
    ImageToImageParams,
    InpaintParams,
    PictureParams,
    SuperResolutionParams,
    TextToImageParams,
)
from app.jobs.store import Failed
from models import ModelError, NonFinite
from worker import pictures
from worker.engine import Seconds
from worker.leases import Lease
from worker.reporting import Reporter
from worker.residency import CannotLoad
from worker.trajectories import estimate_in

if TYPE_CHECKING:
    from models import Pipeline, Request, Row

log = structlog.get_logger()


Inputs = Mapping[str, bytes]
"""The pictures that a job is made from, by role, as the front door stored them."""

NO_INPUTS: Inputs = {}


def request_of(params: PictureParams, inputs: Inputs) -> Request:
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
    """What the first pipeline is asked for a picture from words; what makes it larger is asked by `enlargement`."""
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


def enlargement(params: TextToImageParams, picture: np.ndarray, seed: int) -> models.SuperResolution:
    """What the second pipeline is asked for a picture (h, w, 3) of the job that was developed from `seed`.

    Raises: ValueError if the job has no second pipeline.
    """
    upscaler = params.upscaler
    if upscaler is None:
        raise ValueError(f"only a picture with an upscaler is made larger, got upscale {params.upscale}")
    own = {"num_steps": upscaler.steps, "guidance_scale": upscaler.guidance_scale, "sampler": upscaler.sampler}
    alone = {"seed": seed, "num_images": 1, "guidance_interval": (0.0, 1.0), "eta": 0.0}
    return models.SuperResolution(image=picture, scale=params.upscale, **_prompted(params) | own | alone)


def decoding(params: DecodeParams, inputs: Inputs) -> models.Decode:
    """What the pipeline is asked for the picture that one step of an image stands for."""
    recipe = params.recipe
    of: Request
    if params.is_of_second_stage and isinstance(recipe, TextToImageParams):
        # Only its size matters: what was made larger is in the estimate already.
        of = enlargement(recipe, np.zeros((recipe.height, recipe.width, 3), np.uint8), recipe.seed)
    else:
        of = request_of(recipe, inputs)
    return models.Decode(of=of, x0=estimate_in(inputs[ESTIMATES], params.place))


def _prompted(params: PictureParams) -> dict[str, Any]:
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
        "reproducible": params.reproducible,
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
        pipeline: Pipeline,
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
