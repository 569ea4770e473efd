"""What a client of AUTOMATIC1111's API is answered: pictures with what it calls their info, and how far they are."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from fastapi.concurrency import run_in_threadpool

from app.deps import House
from app.dialects import pictures
from app.dialects.asking import params_of
from app.dialects.errors import problem_of_job
from app.dialects.pictures import Shape
from app.dialects.sdapi import sampler_names
from app.dialects.sizing import made_size, written
from app.jobs.build import installed_version
from app.jobs.spec import image_seed
from app.jobs.store import Image, Job, State
from app.schemas.sdapi import AskedIn, PicturesOut, ProgressOut, StateOut

_NOT_REPEATED: Final = {"init_images", "mask"}

IDLE: Final = ProgressOut(
    progress=0.0,
    eta_relative=0.0,
    state=StateOut(
        interrupted=False,
        stopping_generation=False,
        job="",
        job_count=0,
        job_timestamp="0",
        sampling_step=0,
        sampling_steps=0,
    ),
    current_image=None,
    textinfo=None,
)


async def answer(house: House, job: Job, shape: Shape, asked: AskedIn) -> PicturesOut:
    """The pictures of a job that has ended; none if it was interrupted.

    Raises: a Problem if it failed; StorageError.
    """
    if job.state not in (State.SUCCEEDED, State.CANCELLED):
        raise problem_of_job(job)
    files = [await run_in_threadpool(pictures.finished, house, image, shape) for image in job.images]
    return PicturesOut(
        images=[pictures.base64_of(file) for file in files] if asked.send_images else [],
        parameters=asked.model_dump(mode="json", exclude=_NOT_REPEATED),
        info=json.dumps(info(job, shape, asked.prompt)),
    )


def info(job: Job, shape: Shape, prompt: str) -> dict[str, Any]:
    """What that API says of pictures beside them, and how they came to their size."""
    params = params_of(job)
    count = params.num_images
    seeds = [image_seed(params.seed, index) for index in range(count)]
    width, height = shape.size or made_size(params)
    sampler, _ = sampler_names(params.sampler)
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * count,
        "negative_prompt": params.negative_prompt,
        "all_negative_prompts": [params.negative_prompt] * count,
        "seed": params.seed,
        "all_seeds": seeds,
        "subseed": params.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": width,
        "height": height,
        "sampler_name": sampler,
        "cfg_scale": params.guidance_scale,
        "steps": params.steps,
        "batch_size": count,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": job.model,
        "sd_model_hash": job.model_revision,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": getattr(params, "strength", None),
        "extra_generation_params": _way(job, (width, height)),
        "index_of_first_image": 0,
        "infotexts": [infotext_of(image) for image in job.images],
        "styles": [],
        "job_timestamp": _stamp(job),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": f"Darkroom {installed_version()}",
    }


def infotext_of(image: Image) -> str:
    """The recipe of a picture, as its file says it."""
    from app.jobs.recipe import Recipe, infotext

    return infotext(Recipe.of(image.params, image.index, image.model_revision))


def progress(job: Job, waiting: int, preview: str | None) -> ProgressOut:
    """How far a job is that has not ended, one of so many; `preview` is a picture in base64."""
    step, steps = job.progress.step, job.progress.steps
    share = step / steps if steps else 0.0
    elapsed_s = 0.0 if job.started_at is None else (datetime.now(UTC) - job.started_at).total_seconds()
    return ProgressOut(
        progress=share,
        eta_relative=max(0.0, elapsed_s / share - elapsed_s) if share else 0.0,
        state=StateOut(
            interrupted=job.cancel_requested,
            stopping_generation=job.cancel_requested,
            job=job.id,
            job_count=waiting,
            job_timestamp=_stamp(job),
            sampling_step=step,
            sampling_steps=steps,
        ),
        current_image=preview,
        textinfo=None,
    )


def _way(job: Job, size: tuple[int, int]) -> dict[str, Any]:
    """How the pictures came to their size, and what else their client might not expect."""
    params = params_of(job)
    developed, made = (params.width, params.height), made_size(params)
    said: dict[str, Any] = {"Job": job.id, "Developed size": written(developed)}
    said |= {} if made == developed else {"Upscaled size": written(made)}
    said |= {} if size == made else {"Scaled size": written(size)}
    return said | ({"Warnings": list(job.warnings)} if job.warnings else {})


def _stamp(job: Job) -> str:
    return job.created_at.strftime("%Y%m%d%H%M%S")
