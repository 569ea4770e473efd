"""The catalogue says what a job may name."""

from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import Store


def test_a_model_is_told_as_its_worker_described_it(client: TestClient, entry: CatalogueEntry) -> None:
    (model,) = client.get("/api/v1/models").json()["items"]
    assert model == entry.model_dump(mode="json") | {"workers": 1, "is_default": True}


def test_a_model_that_no_worker_serves_stays(client: TestClient, store: Store) -> None:
    store.worker_left("worker-1")
    (model,) = client.get("/api/v1/models").json()["items"]
    assert (model["name"], model["workers"]) == ("storybook", 0)


def test_samplers_are_those_of_all_models(client: TestClient, store: Store, entry: CatalogueEntry) -> None:
    store.register_model("worker-1", entry.model_copy(update={"name": "other", "samplers": ["lcm", "ddim"]}))
    assert client.get("/api/v1/samplers").json()["items"] == [
        {"name": "ddim", "models": ["other", "storybook"], "default_of": ["other", "storybook"]},
        {"name": "ddpm", "models": ["storybook"], "default_of": []},
        {"name": "lcm", "models": ["other"], "default_of": []},
    ]
