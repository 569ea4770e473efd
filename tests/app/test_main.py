"""The app as a whole: it comes up whatever is away, and it sweeps."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app import desk
from app.jobs.catalogue import CatalogueEntry
from app.jobs.events import stream_key
from app.jobs.queue import consume
from app.jobs.settings import Settings
from app.jobs.store import Store
from app.jobs.store.quoting import Quotes
from app.main import create_app


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings of a service that sweeps ten times a second, and whose leases last as long."""
    return settings.model_copy(update={"sweep_s": 0.1, "lease_s": 0.2, "beat_s": 0.1})


def test_the_api_sweeps_jobs_of_workers_that_were_lost(
    quick: Settings, store: Store, entry: CatalogueEntry, make_params: Callable[..., Any], redis_connection: Redis
) -> None:
    store.register_model("worker-1", entry)
    job = store.submit(make_params(), "local")
    with TestClient(create_app(quick), base_url="http://localhost"):
        assert store.claim_next("worker-1", ["storybook"])
        redis_connection.flushall()
        # The lease of `store` is longer than the test; the one that sweeping grants no longer than a moment.
        with store._transactions.writing() as connection:
            connection.exec_driver_sql("UPDATE jobs SET lease_until = 1")
        until(lambda: store.get(job.id, "local").state == "queued")
        assert consume(redis_connection, timeout_s=5)
        until(lambda: redis_connection.exists(stream_key(job.id)) == 1)


def test_a_sweep_that_fails_is_not_the_last(quick: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[object] = []

    def fails_first(house: object) -> None:
        swept.append(house)
        if len(swept) == 1:
            raise RuntimeError("the first sweep fails")

    monkeypatch.setattr(desk, "sweep", fails_first)
    with TestClient(create_app(quick), base_url="http://localhost"):
        until(lambda: len(swept) > 2)


def test_a_quote_that_cannot_be_learned_keeps_no_bell_from_ringing(
    quick: Settings, store: Store, entry: CatalogueEntry, make_params: Callable[..., Any], redis_connection: Redis
) -> None:
    def never(self: Quotes) -> None:
        raise RuntimeError("nothing is learned")

    store.register_model("worker-1", entry)
    store.submit(make_params(), "local")
    with pytest.MonkeyPatch.context() as patch, TestClient(create_app(quick), base_url="http://localhost"):
        patch.setattr(Quotes, "learn", never)
        redis_connection.flushall()
        assert consume(redis_connection, timeout_s=5)


def test_nothing_is_touched_before_the_app_starts(tmp_path: Path) -> None:
    create_app(Settings(data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_the_app_starts_without_database_and_redis(settings: Settings, away_redis_url: str) -> None:
    away = settings.model_copy(
        update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none", "redis_url": away_redis_url}
    )
    with TestClient(create_app(away), base_url="http://localhost") as client:
        assert client.get("/healthz").status_code == 200
