"""A picture that is made larger in the same job: in the worker what it is in the library, and over exactly once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.jobs import queue
from app.jobs.events import stream_key
from app.jobs.failures import ErrorCode
from app.jobs.spec import TextToImageParams, read_params
from app.jobs.store import Failed, State
from models import SuperResolution, TextToImage, load_pipeline
from tests.e2e.tiny_model import save_tiny_enlarger, save_tiny_model
from tests.worker.conftest import OWNER, Running, Service
from worker.consumer import Consumer
from worker.engine import Seconds
from worker.enlarging import SecondStage
from worker.studio import Studio

PIXELS = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that paints, and one that makes pictures larger."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        save_tiny_model(folder / "tiny")
        save_tiny_enlarger(folder / "tiny-x4")
    return folder


@pytest.fixture(scope="module")
def studio(models_dir: Path) -> Studio:
    pipelines = {name: load_pipeline(models_dir / name) for name in ("tiny", "tiny-x4")}
    return Studio(pipelines, torch.device("cpu"), torch.float32)


@pytest.fixture
def larger(make_params: Callable[..., TextToImageParams]) -> Callable[..., Any]:
    """Makes the params of a job of both models."""

    def make(upscale: int, **fields: object) -> Any:
        upscaler = {"model": "tiny-x4", "steps": 2, "guidance_scale": 1.0, "sampler": "ddim"}
        common = make_params(width=64, height=64, steps=3, **fields).model_dump()
        return read_params(common | {"model": "tiny", "upscale": upscale, "upscaler": upscaler})

    return make


@pytest.mark.slow
def test_in_the_worker_it_is_the_picture_that_the_library_makes(
    service: Service, studio: Studio, models_dir: Path, larger: Callable[..., Any]
) -> None:
    consumer = Consumer(service.settings, service.store, service.storage, studio)
    running = Running(consumer, studio.pipeline("tiny"))  # type: ignore[arg-type]
    ids = [service.store.submit(larger(upscale, num_images=2, reproducible=True), OWNER).id for upscale in (2, 4)]
    queue.ring(service.redis)
    jobs = [service.wait_for(job_id) for job_id in ids]
    running.stop()
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 2, [job.error for job in jobs]
    library = load_pipeline(models_dir / "tiny", upscaler=models_dir / "tiny-x4")
    assert library.upscaler is not None
    request = TextToImage(prompt="a red cat", seed=7, num_steps=3, guidance_scale=5.0, num_images=2, reproducible=True)
    small = library.generate(request)
    for job, upscale in zip(jobs, (2, 4), strict=True):
        revisions = [studio.pipeline(name).card.revision for name in ("tiny", "tiny-x4")]
        assert job.model_revision == "+".join(revisions)
        assert (job.progress.step, job.progress.steps) == (10, 10)
        for image in job.images:
            assert (image.seed, image.width, image.height) == (7 + image.index, 64 * upscale, 64 * upscale)
            path = service.storage.path(image.key)
            assert path is not None
            asked = SuperResolution(
                image=small[image.index], prompt="a red cat", scale=upscale, seed=image.seed, num_steps=2,
                guidance_scale=1.0, sampler="ddim", reproducible=True,
            )  # fmt: skip
            assert np.array_equal(np.asarray(Image.open(path)), library.upscaler.generate(asked)[0])
            assert np.array_equal(
                library.generate(replace(request, upscale=upscale)).shape[1:3], (64 * upscale, 64 * upscale)
            )
    told = [json.loads(entry[b"data"]) for _, entry in service.redis.xrange(stream_key(ids[0]))]
    steps = [event["step"] for event in told if "step" in event]
    assert steps == sorted(steps)
    assert steps[-1] == 10


class Outlet:
    """Writes down what it is told."""

    is_wanted = True

    def __init__(self) -> None:
        self.told: list[Any] = []

    def add(self, index: int, seed: int, pixels: np.ndarray) -> None:
        self.told.append(index)

    def publish(self, seconds: Seconds) -> None:
        self.told.append(seconds)

    def fail(self, failure: Failed) -> None:
        self.told.append(failure.code)

    def abandon(self) -> None:
        self.told.append("abandoned")


def stage(num_images: int) -> tuple[SecondStage, Outlet, list[Any]]:
    """A second stage whose works are their outlets, and are developed by the test."""
    outlet, works = Outlet(), []
    made = SecondStage(outlet, num_images, lambda outlet, index, seed, pixels: outlet, works.append)
    for index in range(num_images):
        made.add(index, index, PIXELS)
    assert len(works) == num_images
    return made, outlet, works


def test_it_is_published_once_every_picture_is_larger_and_the_seconds_are_those_of_all() -> None:
    first, outlet, works = stage(2)
    first.publish(Seconds(1, 2, 3))
    for index in (1, 0):
        assert not any(isinstance(word, Seconds) for word in outlet.told)
        works[index].add(index, index, PIXELS)
        works[index].publish(Seconds(10, 20, 30))
    assert outlet.told == [1, 0, Seconds(21, 42, 63)]


def test_the_first_failure_ends_the_job_and_nobody_goes_on() -> None:
    first, outlet, works = stage(2)
    failure = Failed(ErrorCode.NON_FINITE, "no")
    works[0].fail(failure)
    assert not first.is_wanted
    assert not works[1].is_wanted
    works[1].abandon()
    first.fail(failure)
    first.abandon()
    first.add(2, 2, PIXELS)
    assert (outlet.told, len(works)) == (["nan"], 2)


def test_what_is_dropped_is_abandoned_once() -> None:
    first, outlet, works = stage(2)
    first.publish(Seconds())
    for work in works:
        work.abandon()
    assert outlet.told == ["abandoned"]
