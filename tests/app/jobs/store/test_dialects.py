"""What a client without keys and ids means: by what it asked for, through which dialect, and when."""

from typing import Any

import pytest

from app.jobs.columns import database_now
from app.jobs.store import Idempotency, Job, new_key

BODY, OTHER = "b" * 64, "c" * 64


def ask(bench: Any, dialect: str = "openai", body: str = BODY, owner: str = "ann", again_s: float = 0.0) -> Job:
    idempotency = Idempotency(new_key(dialect), body, again_s)
    job: Job = bench.store.submit(bench.make_params(), owner, idempotency=idempotency)
    return job


def test_who_asks_anew_gets_a_new_job_and_who_asks_again_the_newest_that_says_the_same(bench: Any) -> None:
    jobs = [ask(bench) for _ in range(3)]
    assert len({job.id for job in jobs}) == 3
    assert ask(bench, again_s=900) == jobs[-1]
    assert bench.store.made_before("ann", Idempotency(new_key("openai"), BODY, 900)) == jobs[-1]
    assert bench.store.queue_length() == 3


@pytest.mark.parametrize("other", [{"dialect": "sdapi"}, {"body": OTHER}, {"owner": "bob"}])
def test_who_says_something_else_gets_a_job_of_its_own(bench: Any, other: dict[str, str]) -> None:
    first = ask(bench)
    assert ask(bench, **other, again_s=900).id != first.id  # type: ignore[arg-type]


def test_what_was_asked_too_long_ago_is_not_meant(bench: Any) -> None:
    first = ask(bench)
    bench.write(first, created_at=database_now() - 899)
    assert ask(bench, again_s=900) == bench.store.get(first.id, "ann")
    bench.write(first, created_at=database_now() - 901)
    assert ask(bench, again_s=900).id != first.id


def test_the_jobs_under_way_are_those_of_one_owner_and_dialect_running_ones_first(bench: Any) -> None:
    waiting, running = ask(bench), ask(bench)
    for strange in ({"dialect": "sdapi"}, {"owner": "bob"}):
        ask(bench, **strange)  # type: ignore[arg-type]
    bench.submit(owner="ann")
    assert [job.id for job in bench.store.dialects.under_way("openai", "ann")] == [waiting.id, running.id]
    bench.write(running, state="running", lease_until=database_now() + 60)
    assert [job.id for job in bench.store.dialects.under_way("openai", "ann")] == [running.id, waiting.id]
    bench.store.cancel(waiting.id, "ann")
    assert [job.id for job in bench.store.dialects.under_way("openai", "ann")] == [running.id]


def test_every_owner_chooses_a_model_for_a_dialect(bench: Any) -> None:
    dialects = bench.store.dialects
    assert dialects.chosen_model("sdapi", "ann") is None
    dialects.choose_model("sdapi", "ann", "first")
    dialects.choose_model("sdapi", "ann", "storybook")
    dialects.choose_model("sdapi", "a" * 500, "other")
    assert dialects.chosen_model("sdapi", "ann") == "storybook"
    assert dialects.chosen_model("sdapi", "bob") is None
    assert dialects.chosen_model("sdapi", "a" * 500) == "other"
