"""Upscaling without JavaScript, and what is said where no model does it."""

import re

import pytest
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import SuperResolutionParams
from app.jobs.store import Store
from tests.app.pictures import photo

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
HTMX = {"hx-request": "true", "accept": "text/html"}


@pytest.fixture
def client(client: TestClient, store: Store, entry: CatalogueEntry) -> TestClient:
    """A client of a service that has a model which makes pictures four times as large."""
    enlarger = {"name": "storybook-x4", "tasks": ["super_resolution"], "scale": 4}
    store.register_model("worker-1", entry.model_copy(update=enlarger))
    return client


@pytest.fixture
def reference(client: TestClient) -> str:
    """How a wish names an upload."""
    response = client.post("/upscale/picture", files={"picture": ("own.png", photo(), "image/png")})
    assert response.status_code == 303, response.text
    return str(response.headers["location"]).removeprefix("/upscale?").replace("=", ":")


def test_the_form_says_how_large_the_picture_will_be(client: TestClient, reference: str) -> None:
    page = client.get("/upscale?" + reference.replace(":", "="), headers=BROWSER).text
    assert "96 × 64 pixels now" in page
    assert "2 times: 192 × 128 pixels" in page
    assert re.search(r'value="4" checked>\s+4 times: 384 × 256 pixels', page)


@pytest.mark.parametrize("consistent", [True, False])
def test_the_form_leads_to_a_job(client: TestClient, store: Store, reference: str, consistent: bool) -> None:
    fields = {"image": reference, "scale": "2", **({"consistent": "true"} if consistent else {})}
    response = client.post("/upscale", data=fields, headers=BROWSER)
    (job,) = store.jobs("local").items
    assert (response.status_code, response.headers["location"]) == (303, f"/jobs/{job.id}")
    assert isinstance(job.params, SuperResolutionParams)
    assert (job.params.scale, job.params.width, job.params.consistent) == (2, 192, consistent)


@pytest.mark.parametrize("headers", [BROWSER, HTMX])
def test_what_is_wrong_is_said(client: TestClient, store: Store, reference: str, headers: dict[str, str]) -> None:
    response = client.post("/upscale", data={"image": reference, "scale": "3"}, headers=headers)
    assert response.status_code == 422
    assert "This must be 2 or 4." in response.text
    assert response.headers.get("hx-retarget") == ("#brief" if headers is HTMX else None)
    assert store.jobs("local").items == ()


def test_where_no_model_enlarges_it_is_said_and_what_would_help(
    bare_client: TestClient, store: Store, entry: CatalogueEntry
) -> None:
    store.register_model("worker-1", entry)
    for path in ("/upscale", f"/upscale?image={'0' * 32}"):
        page = bare_client.get(path, headers=BROWSER)
        assert page.status_code == 200
        assert "No model here makes pictures larger" in page.text
        assert "darkroom models add" in page.text
