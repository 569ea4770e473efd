"""Jobs that not everybody may take who serves their model: they need a second one, or a certain kind of worker."""

from typing import Any

import pytest

from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import read_params
from app.jobs.store import Job, State

BOTH = ["storybook", "larger"]
WAIT_S = 600.0


@pytest.fixture
def upscaled(bench: Any) -> Job:
    """A queued job that passes through two models."""
    upscaler = {"model": "larger", "steps": 9, "guidance_scale": 1.5, "sampler": "ddim"}
    params = read_params(bench.make_params().model_dump() | {"upscale": 2, "upscaler": upscaler})
    job = bench.store.submit(params, "local")
    assert isinstance(job, Job)
    return job


def test_a_job_of_two_models_is_taken_by_a_worker_that_serves_both(bench: Any, upscaled: Job) -> None:
    for served in (["storybook"], ["larger"]):
        assert bench.store.claim_next("worker-1", served) is None
    assert bench.store.claim_next("worker-1", BOTH).job_id == upscaled.id


def test_it_holds_up_nobody_behind_it(bench: Any, upscaled: Job) -> None:
    other = bench.submit()
    assert bench.claim().job_id == other.id


def test_it_holds_up_nobody_though_it_has_starved(bench: Any, upscaled: Job) -> None:
    bench.write(upscaled, created_at=0.0)
    other = bench.submit()
    assert bench.claim().job_id == other.id
    assert bench.store.claim_next("worker-1", BOTH).job_id == upscaled.id


def register(bench: Any, worker: str, entry: CatalogueEntry, *models: str) -> None:
    for model in models:
        bench.store.register_model(worker, entry.model_copy(update={"name": model}))
    bench.store.worker_beat(worker, {})


def test_it_fails_when_both_models_are_served_and_never_together(
    bench: Any, upscaled: Job, entry: CatalogueEntry
) -> None:
    bench.write(upscaled, queued_at=0.0)
    register(bench, "worker-1", entry, "storybook")
    register(bench, "worker-2", entry, "larger")
    assert bench.store.sweep().failed == (upscaled.id,)
    assert bench.job(upscaled).error.code == "model_unavailable"


def test_it_fails_when_nobody_serves_its_second_model_any_more(
    bench: Any, upscaled: Job, entry: CatalogueEntry
) -> None:
    bench.write(upscaled, queued_at=0.0)
    register(bench, "worker-2", entry, "larger")
    bench.silence_workers(WAIT_S + 1)
    register(bench, "worker-1", entry, "storybook")
    assert bench.store.sweep().failed == (upscaled.id,)


def test_it_waits_for_a_worker_that_serves_both_and_starts_anew(
    bench: Any, upscaled: Job, entry: CatalogueEntry
) -> None:
    bench.write(upscaled, queued_at=0.0)
    register(bench, "worker-1", entry, "storybook")
    register(bench, "worker-2", entry, *BOTH)
    assert bench.store.sweep().failed == ()
    bench.store.worker_left("worker-2")
    assert bench.store.sweep().failed == ()
    assert bench.job(upscaled).state is State.QUEUED


def test_it_does_not_fail_before_its_time(bench: Any, upscaled: Job, entry: CatalogueEntry) -> None:
    register(bench, "worker-1", entry, "storybook")
    assert bench.store.sweep().failed == ()
