"""`upscale` over HTTP: the server's default for super-resolution makes the picture larger."""

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import Store

JOBS = "/api/v1/jobs"
WISH = {"task": "text_to_image", "prompt": "a red cat", "steps": 4, "upscale": 2}


def test_without_a_model_that_makes_pictures_larger_it_is_refused_and_why(client: TestClient) -> None:
    (fault,) = client.post(JOBS, json=WISH).json()["errors"]
    assert fault == {"pointer": "#/upscale", "detail": "must be 1, since no model here makes pictures larger"}
    (fault,) = client.post(JOBS, json=WISH | {"upscale": 3}).json()["errors"]
    assert fault == {"pointer": "#/upscale", "detail": "must be 1, 2 or 4"}


def test_the_job_tells_both_models_and_the_steps_of_both(
    client: TestClient, store: Store, entry: CatalogueEntry, submit: Callable[..., dict[str, Any]]
) -> None:
    enlarger = {"tasks": ["super_resolution"], "scale": 4}
    for name in ("larger-a", "larger-b"):
        store.register_model("worker-1", entry.model_copy(update={"name": name} | enlarger))
    store.ledger.choose_default_model("larger-b")
    job = submit(upscale=2, num_images=2)
    upscaler = {"model": "larger-b", "steps": 25, "guidance_scale": 5.0, "sampler": "ddim"}
    assert (job["params"]["upscale"], job["params"]["upscaler"]) == (2, upscaler)
    assert job["progress"] == {"step": 0, "steps": 2 * (4 + 25)}
    again = client.post(f"{job['links']['self']}/retry").json()
    assert again["params"] == job["params"]
