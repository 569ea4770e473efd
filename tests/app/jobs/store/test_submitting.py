"""Queueing a job and cancelling one."""

from datetime import UTC, datetime
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import select

from app.jobs import tables
from app.jobs.failures import IdempotencyConflict, NotCancellable, NotFound, QueueFull
from app.jobs.store import Cancelled, Failed, Idempotency, State, Store, open_store


def test_a_submitted_job_is_queued_with_everything_its_owner_asked_for(bench: Any) -> None:
    job = bench.store.submit(bench.make_params(prompt="a house", num_images=3), "ann", warnings=["cropped"])

    assert job.state is State.QUEUED
    assert job.owner == "ann"
    assert job.params == bench.make_params(prompt="a house", num_images=3)
    assert job.warnings == ("cropped",)
    assert job.cost == 128 * 128 * 4 * 3
    assert (job.progress.step, job.progress.steps) == (0, 12)
    assert (job.attempt, job.losses, job.infra_failures) == (0, 0, 0)
    assert (job.error, job.timings, job.images, job.started_at, job.finished_at) == (
        None,
        None,
        (),
        None,
        None,
    )
    assert abs((job.created_at - datetime.now(UTC)).total_seconds()) < 60
    assert bench.store.get(job.id, "ann") == job


def test_every_job_has_an_id_of_its_own(bench: Any) -> None:
    ids = {bench.submit().id for _ in range(5)}

    assert len(ids) == 5
    assert all(len(job_id) == 32 for job_id in ids)


def test_a_full_queue_takes_no_more_until_a_job_is_taken_off(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"max_queued_jobs": 2}))
    store.submit(bench.make_params(), "ann")
    store.submit(bench.make_params(), "bob")

    with pytest.raises(QueueFull, match="2 jobs are waiting"):
        store.submit(bench.make_params(), "ann")
    assert store.queue_length() == 2

    bench.claim()
    store.submit(bench.make_params(), "ann")


def test_a_queued_job_is_cancelled_at_once(bench: Any) -> None:
    job = bench.store.cancel(bench.submit().id, "local")

    assert job.state is State.CANCELLED
    assert job.cancel_requested
    assert job.finished_at is not None
    assert bench.store.claim_next("worker-1", ["storybook"]) is None


def test_a_running_job_is_asked_to_end_and_goes_on_until_it_does(bench: Any) -> None:
    claim = bench.submit_and_claim()

    job = bench.store.cancel(claim.job_id, "local")

    assert job.state is State.RUNNING
    assert job.cancel_requested
    assert job.finished_at is None


def test_cancelling_twice_is_cancelling_once(bench: Any) -> None:
    queued, running = bench.submit(), bench.submit()
    first = bench.store.cancel(queued.id, "local")
    bench.claim()
    asked = bench.store.cancel(running.id, "local")

    assert bench.store.cancel(queued.id, "local") == first
    assert bench.store.cancel(running.id, "local") == asked


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_job_that_has_its_result_cannot_be_cancelled(bench: Any, state: str) -> None:
    claim = bench.submit_and_claim()
    outcome = bench.success(claim) if state == "succeeded" else Failed("internal", "broken")
    assert bench.store.finish(claim, outcome)
    before = bench.job(claim)

    with pytest.raises(NotCancellable, match=f"has already {state}"):
        bench.store.cancel(claim.job_id, "local")

    assert bench.job(claim) == before


def test_a_job_the_worker_cancelled_unasked_counts_as_cancelled(bench: Any) -> None:
    claim = bench.submit_and_claim()
    assert bench.store.finish(claim, Cancelled())

    assert bench.store.cancel(claim.job_id, "local").state is State.CANCELLED


def test_nobody_cancels_somebody_elses_job(bench: Any) -> None:
    job = bench.submit(owner="local")

    with pytest.raises(NotFound):
        bench.store.cancel(job.id, "mallory")

    assert bench.store.get(job.id, "local").state is State.QUEUED


def test_an_unknown_job_cannot_be_cancelled(bench: Any) -> None:
    with pytest.raises(NotFound, match="there is no job"):
        bench.store.cancel("0" * 32, "local")


def test_a_request_that_is_sent_again_makes_no_second_job(bench: Any) -> None:
    params = bench.make_params()
    first = bench.store.submit(params, "local", idempotency=Idempotency("k", "a" * 64))

    again = bench.store.submit(bench.make_params(seed=99), "local", idempotency=Idempotency("k", "a" * 64))

    assert again == first
    assert bench.store.queue_length() == 1


def test_the_job_of_a_repeated_request_is_told_as_it_is_now(bench: Any) -> None:
    bench.store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64))
    claim = bench.claim()
    bench.store.finish(claim, bench.success(claim))

    again = bench.store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64))

    assert (again.id, again.state, len(again.images)) == (claim.job_id, State.SUCCEEDED, 1)


def test_a_key_that_was_used_for_another_request_is_refused(bench: Any) -> None:
    bench.store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64))

    with pytest.raises(IdempotencyConflict):
        bench.store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "b" * 64))
    assert bench.store.queue_length() == 1


def test_two_owners_may_use_the_same_key(bench: Any) -> None:
    jobs = [
        bench.store.submit(bench.make_params(), owner, idempotency=Idempotency("k", digest * 64))
        for owner, digest in (("ann", "a"), ("bob", "b"))
    ]

    assert jobs[0].id != jobs[1].id


def test_a_full_queue_still_knows_the_request_that_filled_it(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"max_queued_jobs": 1}))
    first = store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64))

    assert store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64)).id == first.id
    with pytest.raises(QueueFull):
        store.submit(bench.make_params(), "local", idempotency=Idempotency("l", "a" * 64))


def test_equal_requests_that_race_make_one_job(bench: Any, settings: Any) -> None:
    made: list[str] = []
    start = Barrier(4)

    def send() -> None:
        store = open_store(settings)
        start.wait()
        made.append(store.submit(bench.make_params(), "local", idempotency=Idempotency("k", "a" * 64)).id)
        store.close()

    threads = [Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 4
    assert len(set(made)) == 1
    assert bench.store.queue_length() == 1


def test_submits_of_one_owner_that_race_get_shares_one_after_the_other(bench: Any, settings: Any) -> None:
    start = Barrier(4)

    def send() -> None:
        store = open_store(settings)
        start.wait()
        for _ in range(3):
            store.submit(bench.make_params(), "local")
        store.close()

    threads = [Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with bench.engine.connect() as connection:
        tags = connection.execute(select(tables.jobs.c.start_tag, tables.jobs.c.tag).order_by(tables.jobs.c.tag)).all()
    assert len(tags) == 12
    assert [row.start_tag for row in tags[1:]] == [row.tag for row in tags[:-1]]
