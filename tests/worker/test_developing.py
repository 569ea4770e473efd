"""A job's words and a pipeline's words."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from app.jobs.failures import ErrorCode, Reason
from app.jobs.spec import Params, TextToImageParams, read_params
from app.jobs.store import Failed
from models import ImageToImage, Inpaint, ModelError, NonFinite, RequestError, SuperResolution, TextToImage
from tests.app.pictures import mask, photo
from worker.developing import verdict
from worker.pictures import colours, marked
from worker.requests import request_of

# Whose names differ, and what is said about the job and its files rather than the picture.
RENAMED = {"steps": "num_steps"}
NOT_FOR_THE_PIPELINE = {
    *("version", "task", "model", "format", "quality", "metadata", "priority", "save_trajectory", "developed_pixels"),
    # of the second stage
    *("upscale", "upscaler"),
}
# What is done to the pictures before the pipeline gets them.
DONE_BEFORE = {"fit", "mask_mode", "image", "mask"}

INPUTS = {"image": photo(96, 64), "mask": mask(96, 64)}
GIVEN = {"image": "sha256:" + "a" * 64, "width": 96, "height": 64}
MASKED = GIVEN | {"mask": "sha256:" + "b" * 64, "mask_mode": "black", "feather": 3, "developed_pixels": 1}
TASKS: dict[str, tuple[type, dict[str, Any]]] = {
    "text_to_image": (TextToImage, {"width": 64, "height": 136}),
    "image_to_image": (ImageToImage, GIVEN | {"strength": 0.5, "fit": "contain"}),
    "inpaint": (Inpaint, MASKED | {"strength": 0.25, "fit": "cover"}),
    "super_resolution": (SuperResolution, GIVEN | {"scale": 2, "consistent": True}),
}


@pytest.fixture
def params_of(make_params: Callable[..., TextToImageParams]) -> Callable[[str], Params]:
    """Makes a task's params in which nothing is as it is by default."""

    def make(task: str) -> Params:
        common = make_params(
            prompt="a (fox)", negative_prompt="rain", steps=3, guidance_scale=1.5, guidance_interval=[0.25, 0.75],
            eta=0.25, seed=0, num_images=3, prompt_syntax="weighted", reproducible=True,
        )  # fmt: skip
        own = {"upscale", "upscaler"} if task != "text_to_image" else set()
        return read_params(common.model_dump(exclude=own) | {"task": task} | TASKS[task][1])

    return make


@pytest.mark.parametrize("task", TASKS)
def test_every_param_that_makes_the_picture_reaches_the_pipeline(
    params_of: Callable[[str], Params], task: str
) -> None:
    params = params_of(task)
    request = request_of(params, INPUTS)
    assert type(request) is TASKS[task][0]
    # Where a picture is given, its sides are the result's, or the scale says what is.
    sides = set() if task == "text_to_image" else {"width", "height"}
    said = {RENAMED.get(name, name): value for name, value in params.model_dump().items()}
    wanted = said.keys() - NOT_FOR_THE_PIPELINE - DONE_BEFORE - sides
    assert {name: getattr(request, name) for name in wanted} == {name: said[name] for name in wanted}


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_left_to_the_pipelines_own_defaults(params_of: Callable[[str], Params], task: str) -> None:
    request = request_of(params_of(task), INPUTS)
    # A worker with a newer model would fill gaps differently from what the row promises.
    for field in fields(request):
        assert field.name in ("noise", "latents") or getattr(request, field.name) is not None


def test_the_pipeline_gets_the_pictures_in_the_size_of_the_result(params_of: Callable[[str], Params]) -> None:
    edit = params_of("image_to_image").model_copy(update={"width": 40, "height": 40})
    assert request_of(edit, INPUTS).image.shape == (40, 40, 3)
    paint = params_of("inpaint").model_copy(update={"width": 40, "height": 40})
    request = request_of(paint, INPUTS)
    assert (request.image.shape, request.mask.shape) == ((40, 40, 3), (40, 40))
    assert np.array_equal(request.image, colours(INPUTS["image"], (40, 40)))
    assert np.array_equal(request.mask, marked(INPUTS["mask"], "black", (40, 40)))
    # An enlargement takes the picture as it is.
    assert request_of(params_of("super_resolution"), INPUTS).image.shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFinite(0, 3), ErrorCode.NON_FINITE),
        (RequestError("width", "must be a multiple of 8, got 9"), ErrorCode.BAD_PARAMS),
        (ModelError("no"), ErrorCode.BAD_PARAMS),
        (RuntimeError("a bug"), ErrorCode.INTERNAL),
    ],
)
def test_errors_of_the_pipeline_have_codes(error: Exception, code: ErrorCode) -> None:
    meaning = verdict(error, lambda error: False)
    assert isinstance(meaning, Failed)
    assert meaning.code == code


def test_a_refused_request_says_which_param_and_what_is_allowed() -> None:
    meaning = verdict(RequestError("width", "must be a multiple of 8, got 9"), lambda error: False)
    assert isinstance(meaning, Failed)
    assert "width must be a multiple of 8, got 9" in meaning.message


def test_surprises_are_not_told_to_clients() -> None:
    meaning = verdict(RuntimeError("/home/alice/secret.py"), lambda error: False)
    assert isinstance(meaning, Failed)
    assert "alice" not in meaning.message


def test_too_little_memory_is_not_the_jobs_fault() -> None:
    assert verdict(RuntimeError("out of memory"), lambda error: True) is Reason.OUT_OF_MEMORY
