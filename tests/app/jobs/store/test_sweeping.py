"""What nobody else does any more: lost leases, unwanted models, orphaned files."""

import time
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from app.jobs.columns import database_now
from app.jobs.failures import Reason
from app.jobs.store import ClaimBeat, Failed, Idempotency, State, Store, Swept
from app.jobs.tables import jobs

NOTHING = Swept(requeued=(), failed=(), cancelled=(), ring=False)


def lose(bench: Any, claim: Any) -> Swept:
    bench.let_lease_run_out(claim)
    swept = bench.store.sweep()
    assert isinstance(swept, Swept)
    return swept


def test_there_is_nothing_to_sweep_in_an_empty_database(bench: Any) -> None:
    assert bench.store.sweep() == NOTHING


def test_a_lease_that_holds_is_left_alone(bench: Any) -> None:
    claim = bench.submit_and_claim()
    before = bench.job(claim)

    assert bench.store.sweep() == NOTHING
    assert bench.job(claim) == before


def test_a_lease_runs_out_by_itself(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"lease_s": 0.2}))
    bench.submit()
    claim = store.claim_next("worker-1", ["storybook"])
    assert claim is not None

    time.sleep(0.25)

    assert store.sweep().requeued == (claim.job_id,)


def test_a_lost_job_returns_to_the_queue_and_runs_again(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.store.beat("worker-1", [ClaimBeat(claim.job_id, 1, 3, 4)])

    swept = lose(bench, claim)

    assert swept == Swept(requeued=(claim.job_id,), failed=(), cancelled=(), ring=True)
    job = bench.job(claim)
    assert (job.state, job.losses, job.infra_failures) == (State.QUEUED, 1, 0)
    assert (job.progress.step, job.started_at) == (0, None)
    assert bench.claim("worker-2").attempt == 2


def test_from_its_second_loss_a_job_runs_alone(bench: Any) -> None:
    bench.submit()
    alone = []
    for _ in range(2):
        lose(bench, bench.claim())
        with bench.engine.connect() as connection:
            alone.append(connection.execute(select(jobs.c.solo)).scalar_one())

    assert alone == [False, True]


def test_a_job_lost_three_times_is_given_up(bench: Any) -> None:
    job = bench.submit()
    for _ in range(2):
        assert lose(bench, bench.claim()).requeued == (job.id,)

    swept = lose(bench, bench.claim())

    assert swept == Swept(requeued=(), failed=(job.id,), cancelled=(), ring=False)
    given_up = bench.job(job)
    assert given_up.state is State.FAILED
    assert (given_up.error.code, given_up.losses) == ("worker_lost", 3)
    assert given_up.finished_at is not None


def test_an_attempt_that_was_given_back_is_not_one_of_the_three(bench: Any) -> None:
    job = bench.submit()
    for _ in range(3):
        bench.store.give_back(bench.claim(), Reason.SHUTDOWN)
    for _ in range(2):
        assert lose(bench, bench.claim()).requeued == (job.id,)

    assert lose(bench, bench.claim()).failed == (job.id,)
    assert bench.job(job).attempt == 6


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.store.cancel(claim.job_id, "local")

    swept = lose(bench, claim)

    assert swept == Swept(requeued=(), failed=(), cancelled=(claim.job_id,), ring=False)
    assert bench.job(claim).state is State.CANCELLED


def test_a_cancel_spares_a_job_from_being_given_up(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"max_attempts": 1}))
    claim = bench.submit_and_claim()
    store.cancel(claim.job_id, "local")
    bench.let_lease_run_out(claim)

    assert store.sweep().cancelled == (claim.job_id,)


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_is_never_swept(bench: Any, ending: str) -> None:
    claim = bench.submit_and_claim()
    if ending == "cancelled":
        bench.store.cancel(claim.job_id, "local")
    bench.store.finish(claim, Failed("internal", "x") if ending == "failed" else bench.success(claim))
    before = bench.job(claim)
    assert before.state == ending

    assert bench.store.sweep() == NOTHING
    assert bench.job(claim) == before


def test_sweepers_at_the_same_time_count_a_loss_once(bench: Any) -> None:
    claims = [bench.submit_and_claim() for _ in range(10)]
    for claim in claims:
        bench.let_lease_run_out(claim)
    swept: list[str] = []

    threads = [Thread(target=lambda: swept.extend(bench.store.sweep().requeued)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(swept) == sorted(claim.job_id for claim in claims)
    assert all(bench.job(claim).losses == 1 for claim in claims)


def test_waiting_rows_ask_for_a_ring_until_they_are_taken(bench: Any) -> None:
    bench.submit()
    assert bench.store.sweep().ring

    bench.claim()
    assert not bench.store.sweep().ring


def test_a_job_whose_model_nobody_serves_for_too_long_fails(bench: Any, settings: Any, entry: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"model_wait_s": 60}))
    store.register_model("worker-1", entry)
    job, fresh = bench.submit(), bench.submit()
    bench.write(job, queued_at=database_now() - 61)
    assert store.sweep().failed == ()

    bench.silence_workers(61)

    assert store.sweep().failed == (job.id,)
    assert bench.job(job).error.code == "model_unavailable"
    assert bench.job(fresh).state is State.QUEUED


def test_a_beating_worker_keeps_the_jobs_for_its_models_waiting(bench: Any, settings: Any, entry: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"model_wait_s": 60}))
    store.register_model("worker-1", entry)
    job = bench.submit()
    bench.write(job, queued_at=database_now() - 3600)
    bench.silence_workers(61)

    store.worker_beat("worker-1", {})

    assert store.sweep().failed == ()


def test_another_models_worker_does_not_keep_a_job_waiting(bench: Any, settings: Any, entry: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"model_wait_s": 60}))
    store.register_model("worker-1", entry)
    store.register_model("worker-2", entry.model_copy(update={"name": "another"}))
    job = bench.submit()
    bench.write(job, queued_at=database_now() - 3600)
    bench.silence_workers(61)

    store.worker_beat("worker-2", {})

    assert store.sweep().failed == (job.id,)


def test_a_worker_that_left_in_peace_was_there_a_moment_ago(bench: Any, settings: Any, entry: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"model_wait_s": 60}))
    store.register_model("worker-1", entry)
    job = bench.submit()
    bench.write(job, queued_at=database_now() - 3600)

    store.worker_left("worker-1")

    assert store.sweep().failed == ()


def test_a_file_is_an_orphan_only_when_no_row_will_ever_need_it(bench: Any) -> None:
    running = bench.submit_and_claim()
    published = bench.submit_and_claim()
    bench.store.finish(published, bench.success(published))
    failed = bench.submit_and_claim()
    bench.store.finish(failed, Failed("internal", "broken"))
    retried = bench.submit_and_claim()
    lose(bench, retried)
    requeued = retried.job_id
    expected = {
        f"{'0' * 32}/1-0.png": True,
        f"{running.job_id}/1-0.png": False,
        f"{running.job_id}/1-0.png.tmp": False,
        f"{published.job_id}/1-0.png": False,
        f"{published.job_id}/1-0.thumb256.webp": False,
        f"{published.job_id}/1-1.png": True,
        f"{published.job_id}/1-0.png.tmp": True,
        f"{failed.job_id}/1-0.png": True,
        f"{requeued}/1-0.png": False,
        "somebody/elses.png": False,
        "README": False,
    }

    assert bench.store.orphans(expected) == {key for key, orphan in expected.items() if orphan}
    assert bench.store.is_orphan(f"{failed.job_id}/1-0.png")

    second = bench.claim("worker-2")
    assert (second.job_id, second.attempt) == (requeued, 2)
    assert bench.store.is_orphan(f"{requeued}/1-0.png")
    assert not bench.store.is_orphan(f"{requeued}/2-0.png")


def test_orphans_are_found_among_very_many_keys(bench: Any) -> None:
    keys = [f"{number:032x}/1-0.png" for number in range(2500)]

    assert bench.store.orphans(keys) == set(keys)


def test_idempotency_keys_are_forgotten_after_a_day(bench: Any) -> None:
    key = Idempotency("k", "a" * 64)
    old = bench.store.submit(bench.make_params(), "local", idempotency=key)
    bench.write(old, created_at=database_now() - 86_000)
    bench.store.sweep()
    assert bench.store.submit(bench.make_params(), "local", idempotency=key).id == old.id

    bench.write(old, created_at=database_now() - 86_500)
    bench.store.sweep()

    assert bench.store.submit(bench.make_params(), "local", idempotency=key).id != old.id
