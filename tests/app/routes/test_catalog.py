"""The catalogue says what a job may name."""

from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import Store


def test_a_model_is_told_as_its_worker_described_it(client: TestClient, entry: CatalogueEntry) -> None:
    (model,) = client.get("/api/v1/models").json()["items"]
    assert model == entry.model_dump(mode="json") | {
        "workers": 1,
        "loaded": 0,
        "is_default": True,
        "default_for": ["text_to_image"],
    }


def test_a_model_says_how_many_workers_have_it_in_memory(
    client: TestClient, store: Store, entry: CatalogueEntry
) -> None:
    for worker, loaded in (("worker-1", []), ("worker-2", ["storybook"]), ("worker-3", ["storybook", "other"])):
        store.register_model(worker, entry)
        store.worker_beat(worker, {"loaded": loaded})
    (model,) = client.get("/api/v1/models").json()["items"]
    assert (model["workers"], model["loaded"]) == (3, 2)


def test_every_task_has_the_default_model_that_a_job_would_get(
    client: TestClient, store: Store, entry: CatalogueEntry
) -> None:
    able = {"enlarger": ["super_resolution"], "painter": ["text_to_image", "inpaint", "super_resolution"]}
    for name, tasks in able.items():
        store.register_model("worker-1", entry.model_copy(update={"name": name, "tasks": tasks, "scale": 4}))
    models = {model["name"]: model for model in client.get("/api/v1/models").json()["items"]}
    assert {name: model["default_for"] for name, model in models.items()} == {
        "enlarger": ["super_resolution"],
        "painter": ["inpaint"],
        "storybook": ["text_to_image"],
    }
    assert [name for name, model in models.items() if model["is_default"]] == ["storybook"]


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
