"""What a worker does to a row while it holds it: claim, beat, give back."""

from contextlib import suppress
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.jobs.columns import database_now
from app.jobs.failures import Reason, StoreUnavailable
from app.jobs.store import ClaimBeat, Failed, State, Store, fairness, open_store
from app.jobs.tables import jobs


def lease_left_s(bench: Any, claim: Any) -> float:
    with bench.engine.connect() as connection:
        query = select(jobs.c.lease_until - database_now()).where(jobs.c.id == claim.job_id)
        return float(connection.execute(query).scalar_one())


def test_a_claim_takes_the_job_with_a_lease_and_the_next_attempt(bench: Any, settings: Any, entry: Any) -> None:
    bench.store.register_model("worker-1", entry)
    job = bench.submit()

    claim = bench.claim()

    assert (claim.job_id, claim.attempt, claim.owner, claim.params) == (job.id, 1, "local", job.params)
    taken = bench.job(job)
    assert taken.state is State.RUNNING
    assert taken.attempt == 1
    assert taken.started_at is not None
    assert taken.model_revision == "r1"
    assert settings.lease_s - 2 < lease_left_s(bench, claim) <= settings.lease_s


def test_the_jobs_of_one_owner_are_taken_as_they_came(bench: Any) -> None:
    submitted = [bench.submit(steps=steps).id for steps in (9, 1, 5, 2)]

    assert [bench.claim().job_id for _ in submitted] == submitted
    assert bench.store.claim_next("worker-1", ["storybook"]) is None


def test_a_worker_takes_only_jobs_for_models_it_serves(bench: Any) -> None:
    bench.submit()

    assert bench.store.claim_next("worker-1", ["another", "third"]) is None
    assert bench.store.claim_next("worker-1", []) is None
    assert bench.store.claim_next("worker-1", ["another", "storybook"]) is not None


@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "cancelled"])
def test_only_a_queued_job_is_taken(bench: Any, state: str) -> None:
    claim = bench.submit_and_claim()
    if state == "succeeded":
        bench.store.finish(claim, bench.success(claim))
    elif state == "failed":
        bench.store.finish(claim, Failed("internal", "broken"))
    elif state == "cancelled":
        bench.store.cancel(claim.job_id, "local")
        bench.store.finish(claim, Failed("internal", "broken"))
    assert bench.job(claim).state == state

    assert bench.store.claim_next("worker-2", ["storybook"]) is None


def test_concurrent_claimers_never_get_the_same_job(bench: Any, settings: Any) -> None:
    submitted = {bench.submit().id for _ in range(24)}
    taken: list[str] = []
    start = Barrier(3)

    def work(name: str) -> None:
        # A store of its own for each: the lock between them is the database's, as between processes.
        store = open_store(settings)
        start.wait()
        while len(taken) < len(submitted):
            # On a busy machine SQLite may let one wait for too long; a worker then simply asks again.
            with suppress(StoreUnavailable):
                claim = store.claim_next(name, ["storybook"])
                if claim is None:
                    break
                taken.append(claim.job_id)
        store.close()

    threads = [Thread(target=work, args=(f"worker-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == 24
    assert set(taken) == submitted


def test_a_claim_says_whether_the_job_must_run_alone(bench: Any) -> None:
    shared, alone = bench.submit(), bench.submit()
    bench.write(alone, solo=True)

    assert {claim.job_id: claim.solo for claim in (bench.claim(), bench.claim())} == {shared.id: False, alone.id: True}


def test_a_row_that_was_taken_a_moment_ago_is_not_taken_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, waiting = bench.submit_and_claim(), bench.submit()
    with bench.engine.connect() as connection:
        numbers = connection.execute(select(jobs.c.number).order_by(jobs.c.number)).scalars().all()
    # What another claimer saw before this one took the first row.
    monkeypatch.setattr(fairness, "_first", lambda *_: numbers)

    claim = bench.claim("worker-2")

    assert claim.job_id == waiting.id
    assert bench.job(taken).attempt == 1


def test_a_row_that_cannot_be_read_fails_and_blocks_nobody(bench: Any) -> None:
    unreadable, next_job = bench.submit(), bench.submit()
    bench.write(unreadable, params={"version": 99, "task": "text_to_video"})

    claim = bench.claim()

    assert claim.job_id == next_job.id
    with bench.engine.connect() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == unreadable.id)).one()
    assert (row.state, row.error_code) == ("failed", "bad_params")


def test_a_queued_row_is_never_one_that_is_unwanted(bench: Any) -> None:
    job = bench.submit()

    with pytest.raises(IntegrityError, match="queued_means_wanted"):
        bench.write(job, cancel_requested=True)


def test_a_beat_renews_the_lease_and_writes_the_progress_of_every_claim(bench: Any, settings: Any) -> None:
    claims = [bench.submit_and_claim() for _ in range(3)]
    for claim in claims:
        bench.let_lease_run_out(claim)

    answer = bench.store.beat(
        "worker-1", [ClaimBeat(claim.job_id, 1, number + 1, 9) for number, claim in enumerate(claims)]
    )

    assert (answer.lost, answer.cancelled) == (frozenset(), frozenset())
    for number, claim in enumerate(claims):
        assert lease_left_s(bench, claim) > settings.lease_s - 2
        assert (bench.job(claim).progress.step, bench.job(claim).progress.steps) == (number + 1, 9)
    assert bench.store.sweep().requeued == ()


def test_a_beat_hears_of_cancels(bench: Any) -> None:
    wanted, unwanted = bench.submit_and_claim(), bench.submit_and_claim()
    bench.store.cancel(unwanted.job_id, "local")

    answer = bench.store.beat("worker-1", [ClaimBeat(c.job_id, 1, 0, 4) for c in (wanted, unwanted)])

    assert answer.cancelled == {unwanted.job_id}
    assert answer.lost == set()


def test_a_beat_for_an_older_attempt_is_lost_and_touches_nothing(bench: Any) -> None:
    old = bench.submit_and_claim()
    bench.let_lease_run_out(old)
    bench.store.sweep()
    new = bench.claim("worker-2")
    left_s = lease_left_s(bench, new)

    answer = bench.store.beat("worker-1", [ClaimBeat(old.job_id, old.attempt, 3, 4)])

    assert (old.attempt, new.attempt) == (1, 2)
    assert answer.lost == {old.job_id}
    assert bench.job(new).progress.step == 0
    assert lease_left_s(bench, new) <= left_s


@pytest.mark.parametrize("ending", ["requeued", "finished"])
def test_a_beat_for_a_job_that_runs_no_more_is_lost(bench: Any, ending: str) -> None:
    claim = bench.submit_and_claim()
    if ending == "requeued":
        bench.let_lease_run_out(claim)
        bench.store.sweep()
    else:
        bench.store.finish(claim, bench.success(claim))
    before = bench.job(claim)

    answer = bench.store.beat("worker-1", [ClaimBeat(claim.job_id, claim.attempt, 3, 4)])

    assert answer.lost == {claim.job_id}
    assert bench.job(claim) == before


def test_a_beat_without_claims_asks_nothing(settings: Any) -> None:
    away = open_store(settings.model_copy(update={"database_url": "postgresql+psycopg://127.0.0.1:1/away"}))

    assert away.beat("worker-1", []).lost == frozenset()


def test_a_beat_gets_through_while_every_other_connection_is_taken(bench: Any, settings: Any) -> None:
    store = open_store(settings)
    claim = bench.submit_and_claim()
    # The pool's five connections, its ten more, and this process's turn to write.
    taken = [store._engines[0].connect() for _ in range(15)]
    answers: list[Any] = []
    signs = [ClaimBeat(claim.job_id, 1, 2, 4)]
    beat = Thread(target=lambda: answers.append(store.beat("worker-1", signs)), daemon=True)

    with store._transactions._turn:
        beat.start()
        beat.join(30)
        assert [answer.lost for answer in answers] == [frozenset()]

    assert bench.job(claim).progress.step == 2
    for connection in taken:
        connection.close()
    store.close()


def test_a_job_given_back_is_queued_again_and_its_attempt_does_not_count(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.store.beat("worker-1", [ClaimBeat(claim.job_id, 1, 3, 4)])

    assert bench.store.give_back(claim, Reason.SHUTDOWN)

    job = bench.job(claim)
    assert job.state is State.QUEUED
    assert (job.attempt, job.infra_failures, job.losses) == (1, 1, 0)
    assert (job.progress.step, job.started_at, job.model_revision) == (0, None, None)
    assert bench.claim("worker-2").attempt == 2


def test_a_job_given_back_for_a_shutdown_is_due_at_once_and_otherwise_after_a_back_off(
    bench: Any, settings: Any
) -> None:
    store = Store(bench.engine, settings.model_copy(update={"backoff_s": 1000, "max_backoff_s": 1000}))
    claim = bench.submit_and_claim()
    store.give_back(claim, Reason.SHUTDOWN)
    assert store.sweep().ring
    claim = bench.claim()

    store.give_back(claim, Reason.DISK_FULL)

    assert store.claim_next("worker-1", ["storybook"]) is None
    assert not store.sweep().ring
    bench.write(claim, not_before=database_now())
    assert store.sweep().ring
    assert store.claim_next("worker-1", ["storybook"]) is not None


def test_the_back_off_doubles_up_to_its_bound(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"backoff_s": 1, "max_backoff_s": 5}))
    bench.submit()
    delays = []
    for _ in range(5):
        claim = bench.claim()
        store.give_back(claim, Reason.STORAGE)
        with bench.engine.connect() as connection:
            row = connection.execute(select(jobs.c.not_before, jobs.c.queued_at)).one()
        delays.append(round(row.not_before - row.queued_at, 3))
        bench.write(claim, not_before=0)

    assert delays == [1, 2, 4, 5, 5]


def test_a_job_given_back_too_often_fails_with_the_last_reason(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"max_infra_failures": 2}))
    for reason, code in ((Reason.DISK_FULL, "infrastructure"), (Reason.OUT_OF_MEMORY, "out_of_memory")):
        job = bench.submit()
        for _ in range(2):
            claim = bench.claim()
            store.give_back(claim, Reason.SHUTDOWN)
            assert bench.job(job).state is State.QUEUED
        claim = bench.claim()

        assert store.give_back(claim, reason)

        assert bench.job(job).state is State.FAILED
        assert bench.job(job).error.code == code


def test_a_job_given_back_after_a_cancel_is_cancelled(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.store.cancel(claim.job_id, "local")

    assert bench.store.give_back(claim, Reason.SHUTDOWN)

    assert bench.job(claim).state is State.CANCELLED


def test_a_lost_claim_cannot_be_given_back(bench: Any) -> None:
    old = bench.submit_and_claim()
    bench.let_lease_run_out(old)
    bench.store.sweep()
    new = bench.claim("worker-2")
    before = bench.job(new)

    assert not bench.store.give_back(old, Reason.SHUTDOWN)

    assert bench.job(new) == before
    assert before.state is State.RUNNING


def test_a_job_that_was_lost_twice_goes_only_to_a_worker_with_nothing_else_in_hand(bench: Any) -> None:
    job, younger = bench.submit(), bench.submit()
    for _ in range(2):
        claim = bench.claim()
        assert (claim.job_id, claim.solo) == (job.id, False)
        bench.let_lease_run_out(claim)
        bench.store.sweep()

    beside = bench.store.claim_next("worker-1", ["storybook"], alone=False)
    alone = bench.claim()

    assert (beside.job_id, beside.solo) == (younger.id, False)
    assert (alone.job_id, alone.solo) == (job.id, True)
