"""Several jobs in one worker's hands: who shares the device, who is let in though it is full, who makes way."""

import itertools
import time
from collections.abc import Callable

import pytest

from app.jobs.events import publish_cancel
from app.jobs.settings import Settings
from app.jobs.store import State
from tests.worker.conftest import OWNER, Running, Service, wait_until

StartWorker = Callable[..., Running]


def test_jobs_share_steps_as_far_as_they_fit(service: Service, start_worker: StartWorker) -> None:
    ids = [service.submit(prompt=f"job {number}", steps=20, seed=number) for number in range(6)]
    ids.append(service.submit(prompt="another shape", width=64))
    worker = start_worker(step_s=0.02, max_rows=4)
    assert [service.wait_for(job_id).state for job_id in ids] == [State.SUCCEEDED] * 7
    sizes = {len(prompts) for prompts in worker.pipeline.shared}
    assert max(sizes) == 4
    assert sizes <= {1, 2, 4}
    assert all(
        set(prompts) == {"another shape"} or "another shape" not in prompts for prompts in worker.pipeline.shared
    )


def test_the_setting_says_how_many_share_a_step(service: Service, start_worker: StartWorker, quick: Settings) -> None:
    ids = [service.submit(steps=10) for _ in range(4)]
    worker = start_worker(step_s=0.02, max_rows=8, settings=quick.model_copy(update={"max_rows": 2}))
    for job_id in ids:
        service.wait_for(job_id)
    assert {len(prompts) for prompts in worker.pipeline.shared} == {1, 2}


def test_a_picture_is_the_same_in_whatever_company(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.01, max_rows=4)
    ids = [service.submit(seed=number, num_images=1 + number % 3, steps=3 + number) for number in range(8)]
    together = [image.sha256 for job_id in ids for image in service.wait_for(job_id).images]
    worker.stop()
    start_worker(max_rows=1)
    ids = [service.submit(seed=number, num_images=1 + number % 3, steps=3 + number) for number in range(8)]
    assert [image.sha256 for job_id in ids for image in service.wait_for(job_id).images] == together


@pytest.mark.parametrize("culprit", ["nan", "bug"])
def test_what_breaks_in_shared_steps_fails_alone(service: Service, start_worker: StartWorker, culprit: str) -> None:
    prompts = ["a", culprit, "b", "c"]
    ids = [service.submit(prompt=prompt, steps=5) for prompt in prompts]
    start_worker(step_s=0.02, max_rows=4)
    states = [service.wait_for(job_id).state for job_id in ids]
    assert states == [State.FAILED if prompt == culprit else State.SUCCEEDED for prompt in prompts]


def test_a_cancel_takes_one_job_out_of_a_shared_step_and_no_other(
    service: Service, start_worker: StartWorker, quick: Settings
) -> None:
    worker = start_worker(step_s=0.03, max_rows=4, settings=quick.model_copy(update={"lease_s": 60.0, "beat_s": 30.0}))
    cancelled = service.submit(prompt="cancelled", steps=1000)
    neighbour = service.submit(prompt="neighbour", steps=60)
    wait_until(lambda: ["cancelled", "neighbour"] in map(sorted, worker.pipeline.shared), "a shared step")
    service.store.cancel(cancelled, OWNER)
    publish_cancel(service.redis, cancelled)
    assert service.wait_for(cancelled).state is State.CANCELLED
    taken = sum("cancelled" in prompts for prompts in worker.pipeline.shared)
    assert service.wait_for(neighbour).state is State.SUCCEEDED
    assert sum("cancelled" in prompts for prompts in worker.pipeline.shared) == taken


# A device that is full: one image a step


def test_the_single_job_of_another_owner_is_let_in_and_has_every_second_step(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker(step_s=0.02)
    crowd = [service.submit(prompt="crowd", steps=1000, owner="crowd") for _ in range(20)]
    service.wait_for(crowd[0], State.RUNNING, owner="crowd")
    single = service.submit(prompt="single", steps=10, owner="single")
    assert service.wait_for(single, owner="single").state is State.SUCCEEDED
    assert service.job(crowd[0], "crowd").state is State.RUNNING
    # The rest of the crowd waits outside, where its turn is kept.
    assert {service.job(job_id, "crowd").state for job_id in crowd[1:]} == {State.QUEUED}
    taken = [prompts[0] for prompts in worker.pipeline.shared]
    first = taken.index("single")
    assert taken[first : first + 19] == ["single", "crowd"] * 9 + ["single"]
    for job_id in crowd:
        service.store.cancel(job_id, "crowd")


def test_a_crowd_in_several_shapes_delays_a_single_job_by_one_shared_step_at_most(
    service: Service, start_worker: StartWorker
) -> None:
    worker = start_worker(step_s=0.05, max_rows=4)
    sides = (64, 128) * 10
    crowd = [service.submit(prompt="crowd", steps=1000, num_images=2, width=side, owner="crowd") for side in sides]
    wait_until(lambda: len(worker.pipeline.shared) > 2, "steps of the crowd's")
    single = service.submit(prompt="single", steps=5, owner="single")
    service.wait_for(single, State.RUNNING, owner="single")
    begun = len(worker.pipeline.shared)
    assert service.wait_for(single, owner="single").state is State.SUCCEEDED
    turns = [place for place, prompts in enumerate(worker.pipeline.shared) if "single" in prompts]
    # The step that is running, and one more if it ended between the claim and the look at it.
    assert turns[0] - begun <= 2
    # From then on it has every second step, though the crowd has more rows in each of its shapes.
    assert turns[-1] - turns[0] <= 2 * (len(turns) - 1)
    assert {service.job(job_id, "crowd").state for job_id in crowd} == {State.RUNNING, State.QUEUED}
    for job_id in crowd:
        service.store.cancel(job_id, "crowd")


def test_low_jobs_that_fill_a_shared_step_make_way_at_the_next_one(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.05, max_rows=4)
    low = [service.submit(prompt="low", priority="low", steps=60) for _ in range(8)]
    wait_until(lambda: worker.pipeline.shared[-1:] == [["low"] * 4], "a step full of low jobs")
    normal = service.submit(prompt="normal", steps=10, owner="somebody")
    assert service.wait_for(normal, owner="somebody").state is State.SUCCEEDED
    turns = [place for place, prompts in enumerate(worker.pipeline.shared) if "normal" in prompts]
    # In hand it has every step, alone: what is low rides along in none.
    assert worker.pipeline.shared[turns[0] : turns[-1] + 1] == [["normal"]] * 10
    for job_id in low:
        service.store.cancel(job_id, OWNER)


def test_another_owners_job_is_let_in_within_a_moment(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.01)
    service.submit(prompt="crowd", steps=200, owner="crowd")
    wait_until(lambda: len(worker.pipeline.shared) > 2, "steps of the crowd's")
    started = time.monotonic()
    service.submit(prompt="single", steps=200, owner="single")
    wait_until(lambda: ["single"] in worker.pipeline.shared, "a step of the single job's")
    assert time.monotonic() - started < 2


def test_a_low_job_makes_way_for_a_normal_one_and_stays_in_hand(service: Service, start_worker: StartWorker) -> None:
    worker = start_worker(step_s=0.02)
    low = service.submit(prompt="low", priority="low", steps=100)
    wait_until(lambda: len(worker.pipeline.shared) > 2, "steps of the low job's")
    normal = service.submit(prompt="normal", steps=20)
    assert service.wait_for(normal).state is State.SUCCEEDED
    assert service.job(low).state is State.RUNNING
    # From the normal job's first step to its last, nobody else took one.
    turns = [(prompt, len(list(steps))) for prompt, steps in itertools.groupby(p[0] for p in worker.pipeline.shared)]
    assert turns[1] == ("normal", 20)
    job = service.wait_for(low)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


def test_a_full_worker_leaves_its_owners_other_jobs_to_others(service: Service, start_worker: StartWorker) -> None:
    first, second = start_worker(), start_worker()
    ids = [service.submit(prompt="wait") for _ in range(3)]
    wait_until(lambda: [service.job(job_id).state for job_id in ids].count(State.RUNNING) == 2, "two that run")
    time.sleep(0.6)
    assert [service.job(job_id).state for job_id in ids].count(State.QUEUED) == 1
    for worker in (first, second):
        worker.pipeline.gate.set()
    assert [service.wait_for(job_id).state for job_id in ids] == [State.SUCCEEDED] * 3
