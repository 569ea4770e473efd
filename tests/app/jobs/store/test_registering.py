"""The catalogue and the workers."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app.jobs.failures import CatalogueEmpty, UnknownModel
from app.jobs.store import Store
from app.jobs.tables import workers


def test_what_a_worker_registers_is_what_the_catalogue_says(store: Store, entry: Any) -> None:
    store.register_model("worker-1", entry)

    assert store.catalogue() == [entry]
    assert store.known_models() == ["storybook"]
    assert store.model("storybook") == entry


def test_a_newer_revision_takes_the_place_of_the_older(store: Store, entry: Any) -> None:
    newer = entry.model_copy(update={"revision": "r2", "parameters": 5})
    store.register_model("worker-1", entry)
    store.register_model("worker-2", newer)

    assert store.catalogue() == [newer]


def test_registering_twice_is_registering_once(store: Store, entry: Any) -> None:
    store.register_model("worker-1", entry)
    store.register_model("worker-1", entry)

    assert store.catalogue() == [entry]
    assert [worker.models for worker in store.workers_alive()] == [("storybook",)]


def test_a_model_stays_known_after_its_worker_left(store: Store, entry: Any) -> None:
    store.register_model("worker-1", entry)

    store.worker_left("worker-1")
    store.worker_left("worker-1")

    assert store.workers_alive() == []
    assert store.model("storybook") == entry


def test_an_unknown_model_is_refused_with_the_names_there_are(store: Store, entry: Any) -> None:
    store.register_model("worker-1", entry)
    store.register_model("worker-1", entry.model_copy(update={"name": "atlas"}))

    with pytest.raises(UnknownModel, match="model must be one of atlas, storybook, got 'sd-15'") as refusal:
        store.model("sd-15")
    assert refusal.value.known == ["atlas", "storybook"]


def test_while_nothing_was_registered_no_name_is_right_or_wrong(store: Store) -> None:
    with pytest.raises(CatalogueEmpty):
        store.model("storybook")


def test_a_worker_is_alive_for_as_long_as_a_lease_after_its_beat(bench: Any, settings: Any, entry: Any) -> None:
    bench.store.worker_beat("worker-1", {"device": "cpu", "threads": 2})
    bench.store.register_model("worker-1", entry)
    bench.store.worker_beat("worker-2", {})

    one, two = bench.store.workers_alive()
    assert (one.name, one.models, one.facts) == ("worker-1", ("storybook",), {"device": "cpu", "threads": 2})
    assert (two.name, two.models, two.facts) == ("worker-2", (), {})

    bench.silence_workers(settings.lease_s + 1)
    bench.store.worker_beat("worker-2", {"device": "cuda"})

    (alive,) = bench.store.workers_alive()
    assert (alive.name, alive.facts) == ("worker-2", {"device": "cuda"})


def test_a_worker_long_silent_is_forgotten_but_its_model_is_not(bench: Any, entry: Any) -> None:
    bench.store.register_model("worker-1", entry)
    bench.silence_workers(3500)
    bench.store.sweep()
    assert count_workers(bench) == 1

    bench.silence_workers(200)
    bench.store.sweep()

    assert count_workers(bench) == 0
    assert bench.store.catalogue() == [entry]


def count_workers(bench: Any) -> int:
    with bench.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(workers)).scalar_one())


def test_registering_a_model_does_not_forget_what_the_worker_said(store: Store, entry: Any) -> None:
    store.worker_beat("worker-1", {"device": "cpu"})
    store.register_model("worker-1", entry)

    assert store.workers_alive()[0].facts == {"device": "cpu"}
