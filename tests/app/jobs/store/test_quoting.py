"""Quotes out of rows: what would wait before a job, how fast such work went, and what was expected of it."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from app.jobs import tables
from app.jobs.catalogue import CatalogueEntry
from app.jobs.columns import database_now
from app.jobs.failures import TooCostly
from app.jobs.spec import TextToImageParams, cost
from app.jobs.store import Job, Limits, Place, Priority, Store
from tests.app.jobs.store.conftest import OWNER, WORKER, Bench

MakeParams = Callable[..., TextToImageParams]

# What `bench.success` says that a job took.
SERVICE_S = 0.1 + 2.0 + 0.3 + 0.05


@pytest.fixture
def served(bench: Bench, entry: CatalogueEntry) -> None:
    """A living worker serves the model, and has measured nothing; it stays alive however slow the machine is."""
    bench.store.register_model(WORKER, entry)
    bench.silence_workers(for_s=-3600)


def make(bench: Bench, took_s: float = SERVICE_S, **fields: object) -> None:
    """Queue a job and make it, as if both had happened so long ago."""
    claim = bench.submit_and_claim(**fields)
    assert bench.store.finish(claim, bench.success(claim))
    now = database_now()
    bench.write(claim, created_at=now - took_s - 60, started_at=now - took_s - 60, finished_at=now - 60)


def place(bench: Bench, job: Job) -> Place:
    return bench.store.quotes.places([bench.job(job)])[job.id]


def expectations(bench: Bench) -> list[tuple[float | None, float | None]]:
    columns = tables.jobs.c.expected_start_s, tables.jobs.c.expected_finish_s
    with bench.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(tables.jobs.c.number))]


def test_a_quote_queues_nothing_and_says_what_would_wait_before_it(bench: Bench, make_params: MakeParams) -> None:
    for _ in range(3):
        bench.submit(owner="another")
    bench.submit(priority=Priority.LOW)
    assert bench.store.quotes.of(make_params(), OWNER).position == 1
    assert bench.store.quotes.of(make_params(), "another").position == 3
    assert bench.store.quotes.of(make_params(priority="low"), OWNER).position == 4
    assert bench.store.queue_length() == 4
    assert place(bench, bench.submit()).position == 1


def test_what_would_be_refused_for_its_size_has_no_quote(bench: Bench, make_params: MakeParams) -> None:
    bench.store.keys.create("ann", limits=Limits(queued_jobs=1, job_cost=cost(make_params(steps=4))))
    bench.submit(owner="ann")
    # That one waits already is no reason not to tell.
    assert bench.store.quotes.of(make_params(steps=4), "ann").position == 1
    with pytest.raises(TooCostly):
        bench.store.quotes.of(make_params(steps=5), "ann")


@pytest.mark.usefixtures("served")
def test_what_such_jobs_took_is_what_one_takes(bench: Bench, make_params: MakeParams) -> None:
    for _ in range(5):
        make(bench)
    quoted = bench.store.quotes.of(make_params(steps=8), OWNER).quote
    assert quoted is not None
    assert quoted.start.p50 == 0.0
    assert quoted.finish.p50 == pytest.approx(2 * SERVICE_S, rel=0.01)
    assert quoted.finish.p50 < quoted.finish.p90


@pytest.mark.usefixtures("served")
def test_what_was_expected_at_the_submit_is_kept_and_learned_from(bench: Bench, make_params: MakeParams) -> None:
    make(bench)
    assert expectations(bench) == [(None, None)]
    for _ in range(12):
        make(bench, took_s=3 * SERVICE_S)
    assert expectations(bench)[1:] == [(0.0, pytest.approx(SERVICE_S))] * 12
    bench.store.quotes.learn()
    quoted = bench.store.quotes.of(make_params(), OWNER).quote
    assert quoted is not None
    assert quoted.finish.p50 == pytest.approx(3 * SERVICE_S, rel=0.05)


@pytest.mark.usefixtures("served")
def test_a_job_that_waits_is_told_when_its_turn_comes(bench: Bench) -> None:
    make(bench)
    waiting = [bench.submit() for _ in range(4)]
    quotes = [place(bench, job).quote for job in waiting]
    assert [quoted.start.p50 for quoted in quotes if quoted] == pytest.approx([n * SERVICE_S for n in range(4)])
    bench.silence_workers(for_s=7200)
    assert place(bench, waiting[0]) == Place(position=0, quote=None)


@pytest.mark.usefixtures("served")
def test_a_job_that_runs_has_started_and_one_that_ended_has_no_place(bench: Bench) -> None:
    make(bench)
    claim = bench.submit_and_claim()
    bench.write(claim, step=2)
    running = bench.store.quotes.places([bench.job(claim)])[claim.job_id]
    assert running.position is None
    assert running.quote is not None
    assert running.quote.start.p90 == 0.0
    assert running.quote.finish.p50 == pytest.approx(SERVICE_S / 2, rel=0.2)
    assert bench.store.finish(claim, bench.success(claim))
    assert bench.store.quotes.places([bench.job(claim)]) == {}


def test_what_workers_measured_is_believed_until_something_was_made(
    bench: Bench, store: Store, entry: CatalogueEntry, make_params: MakeParams
) -> None:
    params = make_params(steps=8)
    store.register_model(WORKER, entry)
    store.register_model("worker-2", entry)
    assert store.quotes.of(params, OWNER) == Place(position=0, quote=None)
    store.worker_beat(WORKER, {"cost_s": {"storybook": 1.0 / cost(params), "not loaded yet": None}})
    store.worker_beat("worker-2", {"cost_s": {"storybook": 3.0 / cost(params), "other": 1.0}})
    quoted = store.quotes.of(params, OWNER).quote
    assert quoted is not None
    assert quoted.finish.p50 == pytest.approx(2.0)
