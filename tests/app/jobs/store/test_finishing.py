"""The last word about an attempt, and what is known when its answer is lost."""

from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from app.jobs.failures import NotCancellable, StoreUnavailable
from app.jobs.store import Cancelled, Failed, State
from app.jobs.tables import files


def count_files(bench: Any) -> int:
    with bench.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(files)).scalar_one())


def lose_one_commit(engine: Engine, happens: bool) -> None:
    """Make the engine's next COMMIT raise, after or without having been done."""
    dialect = engine.dialect
    commit: Callable[[Any], None] = dialect.do_commit

    def lost(connection: Any) -> None:
        dialect.do_commit = commit  # type: ignore[method-assign]
        if happens:
            commit(connection)
        raise dialect.loaded_dbapi.OperationalError("disk I/O error")

    dialect.do_commit = lost  # type: ignore[method-assign]


def test_success_publishes_every_image_with_the_state(bench: Any) -> None:
    claim = bench.submit_and_claim(num_images=2)

    assert bench.store.finish(claim, bench.success(claim))

    job = bench.job(claim)
    assert job.state is State.SUCCEEDED
    assert job.progress.step == job.progress.steps == 8
    assert job.model_revision == "r1"
    assert (job.timings.text_s, job.timings.denoise_s) == (0.1, 2.0)
    assert job.timings.queued_s >= 0
    assert job.finished_at >= job.started_at >= job.created_at
    assert [(image.index, image.seed, image.size_bytes) for image in job.images] == [
        (0, 7, 1000),
        (1, 8, 1001),
    ]
    assert all(image.params == claim.params and image.owner == "local" for image in job.images)
    assert count_files(bench) == 4


def test_nothing_is_published_before_the_end(bench: Any) -> None:
    claim = bench.submit_and_claim()

    assert bench.job(claim).images == ()
    assert bench.store.images("local").items == ()


def test_a_failure_is_told_and_publishes_nothing(bench: Any) -> None:
    claim = bench.submit_and_claim()

    assert bench.store.finish(claim, Failed("nan", "The numbers were no picture."))

    job = bench.job(claim)
    assert job.state is State.FAILED
    assert (job.error.code, job.error.message) == ("nan", "The numbers were no picture.")
    assert (job.images, job.timings) == ((), None)
    assert job.finished_at is not None


def test_a_success_must_bring_each_image_once(bench: Any) -> None:
    claim = bench.submit_and_claim(num_images=2)
    whole = bench.success(claim)
    twice_the_first = replace(whole, images=(whole.images[0], whole.images[0]))

    with pytest.raises(ValueError, match=r"must have the indexes 0\.\.1, got \[0\]"):
        bench.store.finish(claim, replace(whole, images=whole.images[:1]))
    with pytest.raises(ValueError, match=r"got \[0, 0\]"):
        bench.store.finish(claim, twice_the_first)

    assert bench.job(claim).state is State.RUNNING


def test_a_fenced_worker_publishes_nothing_and_the_second_attempt_counts(bench: Any) -> None:
    first = bench.submit_and_claim()
    bench.let_lease_run_out(first)
    assert bench.store.sweep().requeued == (first.job_id,)
    second = bench.claim("worker-2")

    assert not bench.store.finish(first, bench.success(first))
    assert bench.store.images("local").items == ()
    assert bench.job(second).state is State.RUNNING

    assert bench.store.finish(second, bench.success(second))
    assert [image.key for image in bench.job(second).images] == [f"{second.job_id}/2-0.png"]
    assert not bench.store.finish(first, bench.success(first))
    assert len(bench.job(second).images) == 1


def test_a_requeued_job_cannot_be_finished_by_its_old_worker(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.let_lease_run_out(claim)
    bench.store.sweep()

    assert not bench.store.finish(claim, bench.success(claim))
    assert not bench.store.finish(claim, Failed("internal", "broken"))
    assert not bench.store.finish(claim, Cancelled())

    assert bench.job(claim).state is State.QUEUED


def test_a_lease_that_ran_out_unnoticed_does_not_spoil_the_work(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.let_lease_run_out(claim)

    assert bench.store.finish(claim, bench.success(claim))


@pytest.mark.parametrize("outcome", ["success", "failure", "cancelled"])
def test_once_cancel_is_asked_everything_ends_as_cancelled(bench: Any, outcome: str) -> None:
    claim = bench.submit_and_claim()
    bench.store.cancel(claim.job_id, "local")
    outcomes = {
        "success": bench.success(claim),
        "failure": Failed("internal", "broken"),
        "cancelled": Cancelled(),
    }

    assert bench.store.finish(claim, outcomes[outcome]) is (outcome == "cancelled")

    job = bench.job(claim)
    assert job.state is State.CANCELLED
    assert (job.error, job.images) == (None, ())
    assert job.finished_at is not None
    assert count_files(bench) == 0


def test_saying_it_twice_changes_nothing(bench: Any) -> None:
    claim = bench.submit_and_claim()
    assert bench.store.finish(claim, bench.success(claim))
    before = bench.job(claim)

    assert bench.store.finish(claim, bench.success(claim))
    assert not bench.store.finish(claim, Failed("internal", "broken"))

    assert bench.job(claim) == before


def test_a_cancel_and_a_finish_that_race_never_both_win(bench: Any) -> None:
    for _ in range(15):
        claim = bench.submit_and_claim()
        start = Barrier(2)
        answers: dict[str, bool] = {}

        def finish(claim: Any = claim, start: Barrier = start, answers: Any = answers) -> None:
            start.wait()
            answers["published"] = bench.store.finish(claim, bench.success(claim))

        def cancel(claim: Any = claim, start: Barrier = start, answers: Any = answers) -> None:
            start.wait()
            try:
                bench.store.cancel(claim.job_id, "local")
                answers["cancelled"] = True
            except NotCancellable:
                answers["cancelled"] = False

        threads = [Thread(target=finish), Thread(target=cancel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert answers["published"] is not answers["cancelled"]
        assert bool(bench.job(claim).images) is answers["published"]


def test_a_commit_whose_answer_was_lost_is_read_back(bench: Any) -> None:
    claim = bench.submit_and_claim()
    lose_one_commit(bench.store._engines[0], happens=True)

    assert bench.store.finish(claim, bench.success(claim))

    assert bench.job(claim).state is State.SUCCEEDED
    assert len(bench.job(claim).images) == 1


def test_a_commit_that_did_not_happen_can_be_tried_again(bench: Any) -> None:
    claim = bench.submit_and_claim()
    lose_one_commit(bench.store._engines[0], happens=False)

    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        bench.store.finish(claim, bench.success(claim))

    assert bench.job(claim).state is State.RUNNING
    assert count_files(bench) == 0
    assert bench.store.finish(claim, bench.success(claim))
    assert len(bench.job(claim).images) == 1


def test_a_lost_answer_about_a_cancelled_job_is_no_success(bench: Any) -> None:
    claim = bench.submit_and_claim()
    bench.store.cancel(claim.job_id, "local")
    lose_one_commit(bench.store._engines[0], happens=True)

    assert not bench.store.finish(claim, bench.success(claim))

    assert bench.job(claim).state is State.CANCELLED
