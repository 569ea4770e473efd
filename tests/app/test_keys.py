"""Who may come in over HTTP: nobody without a key once there is one, and nobody into another's jobs."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.store import Job, Store
from app.main import create_app

JOBS = "/api/v1/jobs"
WISH = {"task": "text_to_image", "prompt": "a cat", "steps": 4}

# What anybody may ask: probes, which say nothing of anybody's work, and to be let in.
OPEN = {"/healthz", "/readyz", "/version", "/sign-in", "/sign-out", "/openapi.json"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def ann(store: Store) -> dict[str, str]:
    """The headers of somebody with a key."""
    return bearer(store.keys.create("ann").token)


@pytest.fixture
def bob(store: Store) -> dict[str, str]:
    """The headers of somebody else with a key."""
    return bearer(store.keys.create("bob").token)


@pytest.fixture
def admin(store: Store) -> dict[str, str]:
    """The headers of an admin."""
    return bearer(store.keys.create("root", is_admin=True).token)


def guarded(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path of the app that is not open to all."""
    for route in all_routes(app):
        if route.path not in OPEN:
            for method in sorted(route.methods or ()):
                yield method, route.path


def all_routes(app: FastAPI) -> list[APIRoute]:
    """The routes of every router that the app has taken in."""
    routers = [router for part in app.routes if (router := getattr(part, "original_router", None)) is not None]
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def send(client: TestClient, method: str, path: str, headers: dict[str, str]) -> Any:
    form = not path.startswith("/api") and method == "POST"
    body = {"data": {"prompt": "a cat"}} if form else {"json": WISH} if method == "POST" else {}
    return client.request(method, path, headers={"accept": "application/json", **headers}, **body)  # type: ignore[arg-type]


def test_while_there_are_no_keys_everybody_at_this_machine_is_local(client: TestClient, store: Store) -> None:
    job = client.post(JOBS, json=WISH, headers=bearer("nonsense")).json()
    assert store.get(job["id"], "local").owner == "local"


def test_every_route_but_the_probes_needs_a_key_once_there_is_one(
    client: TestClient, app: FastAPI, ann: dict[str, str]
) -> None:
    tried = list(guarded(app))
    assert len(tried) > 20
    assert {route.path for route in all_routes(app)} > OPEN
    for method, path in tried:
        for headers in ({}, bearer("dk_000000000000_" + "x" * 43), {"Authorization": "Basic YTpi"}):
            response = send(client, method, path.replace("{id}", "0" * 32), headers)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"].startswith('Bearer realm="darkroom"')
            if path.startswith("/v1/"):
                assert response.json()["error"]["code"] == "invalid_api_key"
            elif path.startswith("/sdapi/"):
                assert response.json()["error"] == "Unauthorized"
            elif method != "HEAD":
                assert response.headers["content-type"] == "application/problem+json"
                assert response.json()["type"].endswith(":unauthorized")
    for path in OPEN - {"/sign-out"}:
        assert client.get(path).status_code == 200


def test_with_the_key_everything_goes_on_as_before(client: TestClient, ann: dict[str, str]) -> None:
    job = client.post(JOBS, json=WISH, headers=ann)
    assert job.status_code == 202
    assert client.get(job.json()["links"]["self"], headers=ann).status_code == 200
    assert client.get("/images", headers=ann).status_code == 200


def test_a_revoked_key_is_a_wrong_key(client: TestClient, store: Store) -> None:
    made = store.keys.create("ann")
    assert client.get(JOBS, headers=bearer(made.token)).status_code == 200
    store.keys.revoke(made.id)

    refused = client.get(JOBS, headers=bearer(made.token))

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert client.get(JOBS).status_code == 401


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


@pytest.mark.parametrize("way", ["password", "name"])
def test_clients_that_know_only_basic_show_the_key_on_any_route(client: TestClient, store: Store, way: str) -> None:
    token = store.keys.create("ann").token
    headers = basic("whoever", token) if way == "password" else basic(token, "")
    job = client.post(JOBS, json=WISH, headers=headers).json()
    assert store.get(job["id"], "ann").owner == "ann"
    for path in ("/", "/images", "/api/v1/images", "/api/v1/models"):
        assert client.get(path, headers=headers).status_code == 200, path


@pytest.mark.parametrize("sent", ["Basic", "Basic ?", "Basic YTpi", "Basic /w==", "Bearer", "Digest x", "Bearer \x00"])
def test_a_header_that_shows_no_key_lets_nobody_in(client: TestClient, ann: dict[str, str], sent: str) -> None:
    refused = client.get(JOBS, headers={"Authorization": sent})
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_problem_never_repeats_the_key(client: TestClient, ann: dict[str, str]) -> None:
    wrong = "dk_000000000000_" + "opensesame".ljust(43, "x")
    assert "opensesame" not in client.get(JOBS, headers=bearer(wrong)).text


def test_a_person_in_a_browser_is_told_on_a_page(client: TestClient, ann: dict[str, str]) -> None:
    page = client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 401
    assert page.headers["content-type"].startswith("text/html")
    assert "A key is needed here" in page.text


def test_an_admin_sees_and_cancels_what_others_made_and_owns_what_it_makes(
    client: TestClient, store: Store, ann: dict[str, str], admin: dict[str, str], develop: Callable[[], Job]
) -> None:
    client.post(JOBS, json=WISH, headers=ann)
    image = develop().images[0]
    waiting = client.post(JOBS, json=WISH, headers=ann).json()

    assert len(client.get(JOBS, headers=admin).json()["items"]) == 2
    assert client.get(f"/api/v1/images/{image.id}/content", headers=admin).status_code == 200
    assert client.post(f"{JOBS}/{waiting['id']}/cancel", headers=admin).json()["state"] == "cancelled"
    again = client.post(f"{JOBS}/{waiting['id']}/retry", headers=admin).json()
    assert store.get(again["id"], "root").owner == "root"


@pytest.fixture
def wide(settings: Settings, store: Store, entry: CatalogueEntry) -> Settings:
    """The settings of an API that others can reach."""
    store.register_model("worker-1", entry)
    return settings.model_copy(update={"host": "0.0.0.0"})


def test_beyond_loopback_nobody_comes_in_while_there_are_no_keys(wide: Settings, store: Store) -> None:
    with TestClient(create_app(wide), base_url="http://pictures.example:7860") as client:
        refused = client.get(JOBS)
        assert refused.status_code == 401
        assert "darkroom keys create" in refused.json()["detail"]
        token = store.keys.create("ann").token
        assert client.get(JOBS, headers=bearer(token)).status_code == 200


def test_what_is_open_to_strangers_on_purpose_is_open_until_there_is_a_key(wide: Settings, store: Store) -> None:
    with TestClient(create_app(wide, open_to_strangers=True), base_url="http://127.0.0.1:7860") as client:
        assert client.get(JOBS).status_code == 200
        assert client.get(JOBS, headers={"host": "evil.example"}).status_code == 400
        store.keys.create("ann")
        assert client.get(JOBS).status_code == 401


def test_names_that_are_allowed_are_answered_and_no_others(settings: Settings, store: Store) -> None:
    named = settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": "pictures.example, other.example"})
    token = store.keys.create("ann").token
    with TestClient(create_app(named), base_url="http://pictures.example") as client:
        assert client.get(JOBS, headers=bearer(token)).status_code == 200
        assert client.get(JOBS, headers={**bearer(token), "host": "localhost"}).status_code == 200
        assert client.get(JOBS, headers={**bearer(token), "host": "evil.example"}).status_code == 400


def test_a_database_that_is_away_lets_nobody_in(client: TestClient, store: Store, ann: dict[str, str]) -> None:
    with store._transactions.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO mislaid")

    assert client.get(JOBS, headers=ann).status_code == 503
    assert client.get(JOBS).status_code == 503


def test_the_document_says_that_a_key_may_be_needed(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][JOBS]["post"]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert operation["security"] == [{"key": []}, {"keyAsPassword": []}, {"session": []}]
    assert "401" in operation["responses"]
    assert "security" not in document["paths"]["/healthz"]["get"]

