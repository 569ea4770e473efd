"""A quote answers what a job would be, is as strict as a submit, and leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Store
from tests.app.pictures import data_uri, photo

QUOTES = "/api/v1/quotes"
WISH = {"task": "text_to_image", "prompt": "a red cat", "steps": 10}

Submit = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _measured(client: TestClient, store: Store) -> None:
    """Its worker has measured the model: a tenth of a second for a step at its native size."""
    store.worker_beat("worker-1", {"cost_s": {"storybook": 0.1 / 128**2}})


def test_a_quote_says_when_and_how_much(client: TestClient, submit: Submit) -> None:
    submit(steps=20)
    quoted = client.post(QUOTES, json=WISH).json()
    assert set(quoted) == {"position", "start_s", "finish_s", "cost"}
    assert quoted["position"] == 1
    assert quoted["cost"] == 128 * 128 * 10
    assert quoted["start_s"]["p50"] == pytest.approx(2.0)
    assert quoted["finish_s"]["p50"] == pytest.approx(3.0)
    assert quoted["finish_s"]["p50"] < quoted["finish_s"]["p90"]


def test_a_quote_queues_nothing(client: TestClient, store: Store) -> None:
    assert client.post(QUOTES, json=WISH).status_code == 200
    assert client.get("/api/v1/jobs").json()["items"] == []


def test_a_picture_in_the_body_is_looked_at_and_not_kept(
    client: TestClient, store: Store, settings: Settings, entry: CatalogueEntry
) -> None:
    store.register_model("worker-1", entry.model_copy(update={"tasks": ["image_to_image"]}))
    wish = {"task": "image_to_image", "prompt": "a cat", "image": data_uri(photo(96, 64)), "strength": 0.5, "steps": 10}
    assert client.post(QUOTES, json=wish).json()["cost"] == 96 * 64 * 5
    assert list(open_storage(settings.resolved_storage_url).list()) == []
    refused = client.post(QUOTES, json=wish | {"image": "data:image/png;base64,AAAA"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/image"


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"width": 100}, {"sampler": "none"}, {"model": "nobody"}, {"nonsense": 1}, {"eta": 0.5}]
)
def test_what_a_submit_refuses_has_no_quote(client: TestClient, wrong: dict[str, Any]) -> None:
    bodies = [client.post(path, json=WISH | {"sampler": "ddpm"} | wrong) for path in (QUOTES, "/api/v1/jobs")]
    told = [response.json() | {"instance": None} for response in bodies]
    assert [response.status_code for response in bodies] == [422, 422]
    assert told[0] == told[1]


def test_while_nobody_serves_the_model_only_position_and_cost_are_known(client: TestClient, store: Store) -> None:
    store.worker_left("worker-1")
    assert client.post(QUOTES, json=WISH).json() == {
        "position": 0,
        "start_s": None,
        "finish_s": None,
        "cost": 128 * 128 * 10,
    }


def test_a_job_tells_when_it_will_probably_finish(client: TestClient, store: Store, submit: Submit) -> None:
    first, second = submit(steps=10), submit(steps=10)
    assert first["estimate"] == pytest.approx({"start_s": 0.0, "finish_s": 1.0})
    assert second["estimate"] == pytest.approx({"start_s": 1.0, "finish_s": 2.0})
    listed = client.get("/api/v1/jobs").json()["items"]
    assert [job["estimate"] for job in listed] == [second["estimate"], first["estimate"]]
    store.worker_left("worker-1")
    assert client.get(first["links"]["self"]).json()["estimate"] is None
    client.post(first["links"]["cancel"])
    assert client.get(first["links"]["self"]).json()["estimate"] is None
