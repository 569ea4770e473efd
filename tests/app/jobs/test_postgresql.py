"""A PostgreSQL that is slow, locked, gone or cut off: every wait is bounded, and nothing is left half done."""

import socket
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event, select, text, update

from app.jobs import database
from app.jobs.columns import database_now
from app.jobs.database import Transactions, open_engine
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.store import Claim, ClaimBeat, Failed, Idempotency, State, Store, Succeeded, fairness, open_store
from app.jobs.tables import jobs, models
from tests.servers import Postgres, Proxy

TIMINGS = {"text_s": 0.0, "denoise_s": 0.0, "decode_s": 0.0, "encode_s": 0.0}


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    """PostgreSQL alone."""
    return postgresql_url


@pytest.fixture
def proxy(postgres: Postgres, make_proxy: Callable[[int], Proxy]) -> Proxy:
    return make_proxy(postgres.port)


@pytest.fixture
def behind(settings: Settings, postgres: Postgres, proxy: Proxy) -> Iterator[Store]:
    """The store of `settings`, reached through the proxy."""
    url = settings.resolved_database_url.replace(f":{postgres.port}/", f":{proxy.port}/")
    store = open_store(settings.model_copy(update={"database_url": url}))
    yield store
    store.close()


def execute(settings: Settings, statement: str) -> None:
    engine = open_engine(settings)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def within(limit_s: float, action: Callable[[], object]) -> object:
    """The action's result, if it comes in time."""
    began = time.monotonic()
    try:
        return action()
    finally:
        assert time.monotonic() - began < limit_s


def submit_and_claim(store: Store, params: Any) -> Claim:
    store.submit(params, "local")
    claim = store.claim_next("worker-1", ["storybook"])
    assert claim is not None
    return claim


def nothing(claim: Claim) -> Any:
    """A failure, as a worker's last word."""
    return Failed("internal", "broken")


def test_a_server_that_refuses_connections_is_unavailable_at_once(settings: Settings, proxy: Proxy) -> None:
    proxy.close()
    away = open_store(settings.model_copy(update={"database_url": f"postgresql+psycopg://127.0.0.1:{proxy.port}/x"}))

    with pytest.raises(StoreUnavailable):
        within(5, away.ping)


def test_a_host_that_says_nothing_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = open_store(settings.model_copy(update={"database_url": f"postgresql+psycopg://127.0.0.1:{port}/x"}))

        with pytest.raises(StoreUnavailable):
            within(10, store.ping)


def test_a_connection_killed_in_the_middle_of_a_transaction_leaves_nothing(settings: Settings, store: Store) -> None:
    transactions = Transactions(open_engine(settings))

    def killed() -> None:
        with transactions.writing() as connection:
            connection.execute(text("INSERT INTO workers VALUES ('half', '{}', 0)"))
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            execute(settings, f"SELECT pg_terminate_backend({pid})")
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        killed()
    with transactions.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM workers")).scalar() == 0


def test_connections_that_died_in_the_pool_are_replaced_unnoticed(settings: Settings, store: Store) -> None:
    store.ping()
    execute(
        settings,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )

    store.ping()
    assert store.beat("worker-1", [ClaimBeat("0" * 32, 1, 0, 1)]).lost == {"0" * 32}


def test_a_commit_whose_answer_the_network_lost_is_read_back(
    behind: Store, store: Store, proxy: Proxy, make_params: Any
) -> None:
    claim = submit_and_claim(behind, make_params())
    proxy.loses_answer_to = b"COMMIT\0"

    assert behind.finish(claim, nothing(claim))

    assert proxy.loses_answer_to is None
    assert store.get(claim.job_id, "local").state is State.FAILED


@pytest.fixture
def hopeless(behind: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that expects nothing of a job: what it would read for that is a transaction of its own, before."""
    monkeypatch.setattr(behind.quotes, "expected", lambda *_: None)
    behind.ping()
    return behind


def test_a_submit_whose_answer_was_lost_says_so_and_the_row_is_there(
    hopeless: Store, store: Store, proxy: Proxy, make_params: Any
) -> None:
    proxy.loses_answer_to = b"COMMIT\0"

    with pytest.raises(StoreUnavailable):
        hopeless.submit(make_params(), "local")

    assert store.queue_length() == 1


def test_a_submit_whose_answer_was_lost_is_safe_to_repeat_with_its_key(
    hopeless: Store, store: Store, proxy: Proxy, make_params: Any
) -> None:
    key = Idempotency("k", "a" * 64)
    proxy.loses_answer_to = b"COMMIT\0"
    with pytest.raises(StoreUnavailable):
        hopeless.submit(make_params(), "local", idempotency=key)

    (queued,) = store.jobs("local").items

    assert hopeless.submit(make_params(), "local", idempotency=key).id == queued.id


def test_a_network_that_breaks_before_the_commit_changes_nothing(
    behind: Store, store: Store, proxy: Proxy, make_params: Any
) -> None:
    claim = submit_and_claim(behind, make_params())
    proxy.loses_answer_to = b"UPDATE jobs"
    images: tuple[Any, ...] = ()

    with pytest.raises(ValueError, match="images must have"):
        behind.finish(claim, Succeeded(images, TIMINGS, "r1", "cpu-test"))
    with pytest.raises(StoreUnavailable):
        behind.finish(claim, nothing(claim))

    assert store.get(claim.job_id, "local").state is State.RUNNING
    assert behind.finish(claim, nothing(claim))


def test_a_lock_that_is_held_too_long_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, store: Store, make_params: Any
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.3)
    impatient = open_store(settings)
    claim = submit_and_claim(store, make_params())
    engine = open_engine(settings)

    with engine.begin() as stranger:
        stranger.execute(update(jobs).values(step=1))
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            within(5, lambda: impatient.beat("worker-1", [ClaimBeat(claim.job_id, 1, 2, 4)]))

    assert impatient.beat("worker-1", [ClaimBeat(claim.job_id, 1, 2, 4)]).lost == frozenset()


def test_a_statement_that_never_ends_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_S", 0.2)
    transactions = Transactions(open_engine(settings))

    with pytest.raises(StoreUnavailable, match="statement timeout"), transactions.reading() as connection:
        connection.execute(text("SELECT pg_sleep(30)"))


def test_a_process_that_stops_in_a_transaction_does_not_keep_its_locks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, store: Store, make_params: Any
) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_S", 0.2)
    claim = submit_and_claim(store, make_params())
    stopped = open_engine(settings).connect()
    stopped.begin()
    stopped.execute(update(jobs).values(step=1))

    # Waits for the row until the server has ended the other's transaction.
    assert store.beat("worker-1", [ClaimBeat(claim.job_id, 1, 3, 4)]).lost == frozenset()
    assert store.get(claim.job_id, "local").progress.step == 3
    stopped.invalidate()


def test_a_claimer_passes_by_a_row_that_another_is_taking(settings: Settings, store: Store, make_params: Any) -> None:
    first, second = (store.submit(make_params(), "local") for _ in range(2))
    engine = open_engine(settings)

    with engine.begin() as other:
        other.execute(select(jobs).where(jobs.c.id == first.id).with_for_update())
        claim = within(2, lambda: store.claim_next("worker-1", ["storybook"]))
        assert isinstance(claim, Claim)
        assert claim.job_id == second.id
        assert within(2, lambda: store.claim_next("worker-1", ["storybook"])) is None


def test_a_claimer_finds_the_row_behind_all_those_that_others_are_taking(
    settings: Settings, store: Store, make_params: Any
) -> None:
    waiting = [store.submit(make_params(), "local") for _ in range(2 * fairness.FEW + 1)]
    engine = open_engine(settings)

    with engine.begin() as others:
        others.execute(select(jobs).where(jobs.c.id != waiting[-1].id).with_for_update())
        claim = within(2, lambda: store.claim_next("worker-1", ["storybook"]))

    assert isinstance(claim, Claim)
    assert claim.job_id == waiting[-1].id


def test_a_sweep_waits_for_nobody(settings: Settings, store: Store, make_params: Any) -> None:
    busy, free = (submit_and_claim(store, make_params()) for _ in range(2))
    engine = open_engine(settings)
    execute(settings, "UPDATE jobs SET lease_until = 0")

    with engine.begin() as beating:
        beating.execute(update(jobs).where(jobs.c.id == busy.job_id).values(lease_until=database_now() + 60))
        swept = within(2, store.sweep)
    assert getattr(swept, "requeued", None) == (free.job_id,)

    assert store.sweep().requeued == ()


def test_a_cancel_that_comes_in_the_middle_of_a_sweep_is_kept(
    settings: Settings, store: Store, make_params: Any
) -> None:
    claim = submit_and_claim(store, make_params())
    execute(settings, "UPDATE jobs SET lease_until = 0")
    updates: list[str] = []

    def cancel_before_the_second_update(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE jobs"):
            updates.append(statement)
            if len(updates) == 2:
                other = open_store(settings)
                other.cancel(claim.job_id, "local")
                other.close()

    event.listen(store._engines[0], "before_cursor_execute", cancel_before_the_second_update)
    store.sweep()

    assert len(updates) > 2
    assert store.get(claim.job_id, "local").cancel_requested
    store.sweep()
    assert store.get(claim.job_id, "local").state is State.CANCELLED


def test_beats_and_sweeps_of_the_same_rows_never_lock_each_other_out(
    settings: Settings, store: Store, make_params: Any
) -> None:
    claims = [submit_and_claim(store, make_params()) for _ in range(12)]
    failures: list[Exception] = []

    def again_and_again(action: Callable[[], object]) -> None:
        try:
            for _ in range(25):
                action()
        except Exception as error:
            failures.append(error)

    def beat(claims: list[Claim]) -> Callable[[], object]:
        signs = [ClaimBeat(claim.job_id, claim.attempt, 1, 4) for claim in claims]
        return lambda: store.beat("worker-1", signs)

    def lose() -> None:
        execute(settings, f"UPDATE jobs SET lease_until = 0 WHERE id = '{claims[0].job_id}' AND state = 'running'")
        store.sweep()

    actions = [beat(claims), beat(claims), lose, store.sweep]
    threads = [Thread(target=again_and_again, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_reading_transaction_sees_one_state_of_the_database(settings: Settings, store: Store) -> None:
    transactions = Transactions(open_engine(settings))
    count = text("SELECT count(*) FROM workers")

    with transactions.reading() as connection:
        before = connection.execute(count).scalar()
        store.worker_beat("worker-1", {})
        assert connection.execute(count).scalar() == before == 0


def test_workers_that_serve_the_same_models_touch_them_by_name_so_that_none_locks_another_out(
    settings: Settings, store: Store, entry: Any
) -> None:
    names = [f"model-{number}" for number in range(4)]
    # They lie in the other order, in which a plain update would come to them.
    for name in reversed(names):
        store.register_model("worker-1", entry.model_copy(update={"name": name}))
    engine = open_engine(settings)
    lock = select(models.c.name).with_for_update(nowait=True)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    beat = Thread(target=store.worker_beat, args=("worker-1", {}))

    with engine.begin() as other:
        other.execute(lock.where(models.c.name == names[0]))
        beat.start()
        with engine.connect() as watching:
            while not watching.execute(waiting).scalar():
                # What it tells stays as it is until the transaction ends.
                watching.rollback()
                time.sleep(0.01)
            # It waits for the first and has none of the others.
            assert len(watching.execute(lock.where(models.c.name != names[0])).all()) == 3
            watching.rollback()
    beat.join()
