"""Who is next: fair by cost between owners, low after normal, and nobody waits for ever."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.jobs.columns import database_now
from app.jobs.failures import Reason
from app.jobs.spec import cost
from app.jobs.store import Failed, Priority, Store
from app.jobs.tables import jobs, lanes, principals


def take(
    bench: Any, loaded: Sequence[str] = (), models: Sequence[str] = ("storybook",), swap_cost: float = 0.0
) -> Any:
    """The next job as its owner sees it, done at once."""
    claim = bench.store.claim_next("worker-1", models, loaded=loaded, swap_cost=swap_cost)
    assert claim is not None
    bench.store.finish(claim, Failed("internal", "it is only about the order"))
    return bench.store.get(claim.job_id, claim.owner)


def age(bench: Any, by_s: float, **of: object) -> None:
    """Let rows be older than they are."""
    with bench.engine.begin() as connection:
        older = update(jobs).values(
            created_at=jobs.c.created_at - by_s, queued_at=jobs.c.queued_at - by_s, started_at=jobs.c.started_at - by_s
        )
        connection.execute(older.filter_by(**of))


def test_a_thousand_jobs_of_one_owner_delay_the_single_job_of_another_by_no_more_than_one(bench: Any) -> None:
    bench.fill(1000, "ann")
    for _ in range(5):
        take(bench)

    bench.submit(owner="bob")

    assert "bob" in [take(bench).owner for _ in range(2)]


def test_a_costly_job_of_one_owner_delays_only_its_owner(bench: Any) -> None:
    for _ in range(3):
        bench.submit(owner="ann", steps=100)
        bench.submit(owner="bob", steps=1)

    assert [take(bench).owner for _ in range(6)] == ["bob", "bob", "bob", "ann", "ann", "ann"]


def test_owners_who_always_have_jobs_waiting_get_equal_shares_by_cost(bench: Any) -> None:
    dice = random.Random(5)
    owners = ["ann", "bob", "eve", "kim"]
    for owner in owners:
        for _ in range(12):
            bench.submit(owner=owner, steps=dice.randint(1, 40))
    served: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    left = Counter(dict.fromkeys(owners, 12))

    while min(left.values()) > 0:
        job = take(bench)
        served[job.owner] += job.cost
        largest[job.owner] = max(largest[job.owner], job.cost)
        left[job.owner] -= 1
        # Tags end where shares end, so nobody is ahead by more than one job of his and one of the other's.
        for one in owners:
            for other in owners:
                assert served[one] - served[other] <= largest[one] + 40 * 128 * 128


def test_an_owner_of_twice_the_weight_gets_twice_the_share(bench: Any) -> None:
    with bench.engine.begin() as connection:
        row = {"name": "ann", "is_admin": False, "weight": 2.0, "created_at": 0.0}
        connection.execute(insert(principals).values(row))
    for _ in range(12):
        bench.submit(owner="ann")
        bench.submit(owner="bob")

    assert Counter(take(bench).owner for _ in range(12)) == {"ann": 8, "bob": 4}


def test_who_was_idle_has_saved_nothing_up(bench: Any) -> None:
    for _ in range(20):
        bench.submit(owner="ann")
    for _ in range(10):
        take(bench)

    for _ in range(10):
        bench.submit(owner="bob")

    assert Counter(take(bench).owner for _ in range(8)) == {"ann": 4, "bob": 4}


def test_jobs_that_were_cancelled_cost_their_owner_nothing(bench: Any) -> None:
    for _ in range(20):
        bench.store.cancel(bench.submit(owner="ann").id, "ann")
    for _ in range(5):
        bench.submit(owner="bob")

    bench.submit(owner="ann")

    assert "ann" in [take(bench).owner for _ in range(2)]


def test_a_job_that_comes_back_keeps_its_place(bench: Any) -> None:
    first = bench.submit_and_claim()
    for _ in range(3):
        bench.submit()

    bench.store.give_back(first, Reason.SHUTDOWN)

    assert bench.claim().job_id == first.job_id


def test_a_job_taken_again_does_not_turn_back_the_clock(bench: Any) -> None:
    old = bench.submit_and_claim(owner="eve")
    for _ in range(10):
        bench.submit(owner="ann")
    for _ in range(8):
        take(bench)
    bench.store.give_back(old, Reason.SHUTDOWN)
    assert bench.claim().job_id == old.job_id

    for _ in range(4):
        bench.submit(owner="bob")

    assert Counter(take(bench).owner for _ in range(4)) == {"ann": 2, "bob": 2}


def test_low_yields_to_normal(bench: Any) -> None:
    low = bench.submit(priority=Priority.LOW)
    normal = [bench.submit(owner=owner, steps=50) for owner in ("ann", "bob")]
    assert bench.store.get(low.id, "local").priority is Priority.LOW

    assert {take(bench).id for _ in range(2)} == {job.id for job in normal}
    assert take(bench).id == low.id


def test_a_worker_that_is_busy_for_some_owners_gets_the_jobs_of_others(bench: Any) -> None:
    for owner in ("ann", "ann", "bob"):
        bench.submit(owner=owner)

    claims = [bench.store.claim_next("worker-1", ["storybook"], busy_for=["ann"]) for _ in range(2)]

    assert [claim and claim.owner for claim in claims] == ["bob", None]
    assert take(bench).owner == "ann"


@pytest.mark.parametrize("waited_s", [0, 700])
def test_a_worker_that_wants_no_low_jobs_gets_none_however_long_they_wait(bench: Any, waited_s: float) -> None:
    bench.submit(priority=Priority.LOW)
    normal = bench.submit()
    age(bench, waited_s)

    claims = [bench.store.claim_next("worker-1", ["storybook"], priorities=[Priority.NORMAL]) for _ in range(2)]

    assert [claim and claim.job_id for claim in claims] == [normal.id, None]


def test_low_jobs_are_shared_fairly_too(bench: Any) -> None:
    for _ in range(5):
        bench.submit(owner="ann", priority=Priority.LOW)
    bench.submit(owner="bob", priority=Priority.LOW)

    assert "bob" in [take(bench).owner for _ in range(2)]


def test_nobody_waits_past_the_bound(bench: Any) -> None:
    low = bench.submit(priority=Priority.LOW)
    for _ in range(3):
        bench.submit(owner="ann")
    age(bench, 590, id=low.id)
    assert take(bench).owner == "ann"

    age(bench, 20, id=low.id)

    assert take(bench).id == low.id
    assert take(bench).owner == "ann"


def test_the_bound_is_a_setting(bench: Any, settings: Any) -> None:
    store = Store(bench.engine, settings.model_copy(update={"starvation_s": 5}))
    low = bench.submit(priority=Priority.LOW)
    bench.submit(owner="ann")
    age(bench, 6, id=low.id)

    claim = store.claim_next("worker-1", ["storybook"])

    assert claim is not None
    assert claim.job_id == low.id


def test_a_queue_longer_than_the_bound_is_still_shared_fairly(bench: Any) -> None:
    bench.fill(100, "ann")
    age(bench, 1000)
    take(bench)

    bench.submit(owner="bob")

    assert "bob" in [take(bench).owner for _ in range(2)]


def test_many_low_jobs_past_the_bound_do_not_hold_up_the_normal_ones(bench: Any) -> None:
    for _ in range(5):
        bench.submit(priority=Priority.LOW)
    age(bench, 1000)
    bench.submit(owner="ann")

    assert [take(bench).priority for _ in range(3)] == [Priority.LOW, Priority.NORMAL, Priority.LOW]


def test_a_starving_job_does_not_turn_the_clock_forward(bench: Any, two_models: tuple[str, str]) -> None:
    for _ in range(10):
        submit_for(bench, "storybook", "ann")
    submit_for(bench, "atlas", "ann")
    take(bench, models=two_models)
    age(bench, 1000)
    take(bench)
    assert take(bench, models=two_models).model == "atlas"

    bench.submit(owner="bob")

    assert "bob" in [take(bench, models=two_models).owner for _ in range(2)]


def test_a_starving_job_waits_for_its_back_off_and_its_model(bench: Any) -> None:
    low = bench.submit(priority=Priority.LOW)
    bench.submit(owner="ann")
    age(bench, 1000, id=low.id)

    assert bench.store.claim_next("worker-1", ["another"]) is None
    bench.write(low, not_before=database_now() + 60)
    assert take(bench).owner == "ann"


@pytest.fixture
def two_models(bench: Any, entry: Any) -> tuple[str, str]:
    """Two models, of which a worker has one loaded."""
    for name in ("storybook", "atlas"):
        bench.store.register_model("worker-1", entry.model_copy(update={"name": name}))
    return "storybook", "atlas"


def submit_for(bench: Any, model: str, owner: str) -> Any:
    params = bench.make_params().model_copy(update={"model": model})
    return bench.store.submit(params, owner)


def cost_of_one(bench: Any) -> float:
    return cost(bench.make_params())


def test_a_job_for_a_loaded_model_is_taken_before_one_that_would_cost_a_swap(
    bench: Any, two_models: tuple[str, str]
) -> None:
    for number in range(3):
        submit_for(bench, "storybook", f"owner-{number}")
    loaded = submit_for(bench, "atlas", "owner-3")

    assert take(bench, ["atlas"], two_models, swap_cost=cost_of_one(bench)).id == loaded.id
    assert take(bench, ["atlas"], two_models, swap_cost=cost_of_one(bench)).model == "storybook"


def test_a_thousand_jobs_for_the_loaded_model_delay_one_for_another_by_no_more_than_a_swap_costs(
    bench: Any, two_models: tuple[str, str]
) -> None:
    bench.fill(1000, "ann")
    take(bench, ["storybook"], two_models)
    submit_for(bench, "atlas", "bob")

    swap_cost = 20 * cost_of_one(bench)
    taken = [take(bench, ["storybook"], two_models, swap_cost).model for _ in range(23)]
    # So many that the few which are looked at would all be for the loaded model.
    assert 19 <= taken.index("atlas") <= 22


def test_loaded_models_do_not_stand_back_for_each_other(bench: Any, two_models: tuple[str, str]) -> None:
    first, second = submit_for(bench, "atlas", "ann"), submit_for(bench, "storybook", "bob")
    assert [take(bench, two_models, two_models, 1e12).id for _ in range(2)] == [first.id, second.id]


def test_low_jobs_for_the_loaded_model_are_not_preferred_to_normal_ones(
    bench: Any, two_models: tuple[str, str]
) -> None:
    bench.store.submit(bench.make_params().model_copy(update={"model": "atlas", "priority": "low"}), "ann")
    normal = submit_for(bench, "storybook", "bob")

    assert take(bench, ["atlas"], two_models, swap_cost=1e12).id == normal.id


def test_the_position_is_the_order_in_which_jobs_are_taken(bench: Any) -> None:
    dice = random.Random(3)
    submitted = [
        bench.submit(owner=dice.choice("abc"), steps=dice.randint(1, 9), priority=dice.choice(list(Priority)))
        for _ in range(24)
    ]
    told = {job.id: bench.store.quotes.position(job) for job in submitted}
    assert sorted(told.values()) == list(range(24))

    assert [told[take(bench).id] for _ in submitted] == list(range(24))


def lanes_of(bench: Any) -> list[tuple[str, str]]:
    with bench.engine.connect() as connection:
        return [(lane.owner, lane.priority) for lane in connection.execute(select(lanes).order_by(lanes.c.owner))]


def empty_lanes_for(bench: Any, s: float) -> None:
    with bench.engine.begin() as connection:
        connection.execute(update(lanes).values(used_at=lanes.c.used_at - s))


def test_lanes_in_which_nobody_waits_are_closed_after_a_while(bench: Any) -> None:
    bench.submit(owner="ann", priority=Priority.LOW)
    bench.submit(owner="bob")
    assert take(bench).owner == "bob"
    bench.store.sweep()
    assert lanes_of(bench) == [("ann", "low"), ("bob", "normal")]

    empty_lanes_for(bench, 61)
    bench.store.sweep()

    assert lanes_of(bench) == [("ann", "low")]
    bench.submit(owner="bob")
    assert lanes_of(bench) == [("ann", "low"), ("bob", "normal")]
