"""A job's words and a pipeline's words."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from app.jobs.failures import ErrorCode, Reason
from app.jobs.spec import TASKS, TextToImageParams
from app.jobs.store import Failed
from models import ModelError, NonFinite, RequestError, TextToImage
from worker.developing import REQUESTS, num_steps, text_to_image, verdict

# Whose names differ, and what is said about the file rather than the picture.
RENAMED = {"steps": "num_steps"}
NOT_FOR_THE_PIPELINE = {"version", "task", "model", "format", "quality", "metadata"}


def test_every_param_that_makes_the_picture_reaches_the_pipeline(
    make_params: Callable[..., TextToImageParams],
) -> None:
    params = make_params(
        prompt="a fox", negative_prompt="rain", width=64, height=136, steps=3, guidance_scale=1.5,
        eta=0.25, seed=0, num_images=3,
    )  # fmt: skip
    request = text_to_image(params)
    said = {RENAMED.get(name, name): value for name, value in params.model_dump().items()}
    wanted = {name: value for name, value in said.items() if name not in NOT_FOR_THE_PIPELINE}
    assert {name: getattr(request, name) for name in wanted} == wanted


def test_nothing_is_left_to_the_pipelines_own_defaults(make_params: Callable[..., TextToImageParams]) -> None:
    request = text_to_image(make_params())
    # A worker with a newer model would fill gaps differently from what the row promises.
    for field in fields(TextToImage):
        assert field.name == "noise" or getattr(request, field.name) is not None


def test_every_task_that_can_be_developed_is_one_that_can_be_asked_for() -> None:
    assert set(REQUESTS) <= set(TASKS)


def test_progress_is_counted_over_all_images(make_params: Callable[..., TextToImageParams]) -> None:
    assert num_steps(make_params(steps=7, num_images=3)) == 21


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
