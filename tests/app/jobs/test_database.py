"""How the database is spoken to: what survives, who waits, and what being away looks like."""

import sqlite3
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.jobs.database import Transactions, open_engine
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.store import Store, open_store

on_sqlite = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


def path_of(settings: Settings) -> Path:
    return settings.data_dir / "darkroom.sqlite3"


@on_sqlite
def test_every_connection_is_durable_and_checks_references(settings: Settings) -> None:
    engine = open_engine(settings)
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert pragmas == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 5000,
            }
    engine.dispose()


@on_sqlite
def test_a_writer_has_the_lock_before_it_reads(settings: Settings) -> None:
    transactions = Transactions(open_engine(settings))
    stranger = sqlite3.connect(path_of(settings), timeout=0, isolation_level=None)

    with transactions.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        stranger.execute("BEGIN IMMEDIATE")
    with transactions.reading() as connection:
        connection.execute(text("SELECT count(*) FROM jobs"))
        stranger.execute("BEGIN IMMEDIATE")
    stranger.close()


@on_sqlite
def test_writers_of_one_process_take_turns(settings: Settings) -> None:
    transactions = Transactions(open_engine(settings))
    inside, leave, second_inside = Event(), Event(), Event()

    def first() -> None:
        with transactions.writing():
            inside.set()
            leave.wait()

    def second() -> None:
        with transactions.writing():
            second_inside.set()

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    inside.wait()
    threads[1].start()

    assert not second_inside.wait(0.2)
    leave.set()
    assert second_inside.wait(60)
    for thread in threads:
        thread.join()


def test_a_block_that_raises_changes_nothing(settings: Settings, store: Store) -> None:
    transactions = Transactions(open_engine(settings))
    insert = text("INSERT INTO workers VALUES ('worker-1', '{}', 0)")

    def insert_and_stumble() -> None:
        with transactions.writing() as connection:
            connection.execute(insert)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        insert_and_stumble()
    with transactions.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM workers")).scalar() == 0


@on_sqlite
def test_a_locked_database_is_unavailable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.database.BUSY_TIMEOUT_S", 0.05)
    store = open_store(settings)
    stranger = sqlite3.connect(path_of(settings), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="database is locked"):
        store.worker_beat("worker-1", {})
    assert store.workers_alive() == []

    stranger.execute("ROLLBACK")
    store.worker_beat("worker-1", {})
    stranger.close()
    store.close()


def test_a_database_that_was_never_migrated_does_not_answer_the_ping(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path / "new"))

    with pytest.raises(StoreUnavailable, match="no such table"):
        store.ping()
    store.close()


def test_a_migrated_database_answers_the_ping(store: Store) -> None:
    store.ping()


@on_sqlite
def test_a_full_disk_is_unavailable_and_reading_goes_on(settings: Settings) -> None:
    engine = open_engine(settings)
    store = Store(engine, settings)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        # Of this one connection, which the pool hands out again.
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match="full"):
        store.worker_beat("worker-1", {"padding": "x" * 1_000_000})

    assert store.workers_alive() == []
    store.ping()
    store.close()


def test_a_mistake_of_ours_is_not_called_an_absence(settings: Settings) -> None:
    transactions = Transactions(open_engine(settings))

    with pytest.raises(IntegrityError), transactions.writing() as connection:
        connection.execute(text("INSERT INTO served_models VALUES ('nobody', 'nothing')"))


@on_sqlite
def test_a_postgresql_that_is_not_there_is_unavailable(settings: Settings) -> None:
    away = Settings(data_dir=settings.data_dir, database_url="postgresql://127.0.0.1:1/darkroom")

    with pytest.raises(StoreUnavailable):
        open_store(away).ping()
