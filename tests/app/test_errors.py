"""Every error is problem+json: stable type, plain words, the request's id, and nothing of what was sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import errors
from app.errors import MEDIA_TYPE, Internal
from app.jobs import failures
from app.jobs.settings import Settings
from app.main import create_app
from app.problems import problem_of

JOBS = "/api/v1/jobs"


def problem(response: Any, status: int, slug: str) -> dict[str, Any]:
    """The problem in a response, after what every problem has was checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:darkroom:problem:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"].removeprefix("urn:uuid:") == response.headers["x-request-id"]
    return body


def test_an_impossible_wish_is_refused_field_by_field(client: TestClient) -> None:
    wish = {"task": "text_to_image", "prompt": "", "steps": 0, "colour": "red"}
    body = problem(client.post(JOBS, json=wish), 422, "invalid")
    assert {fault["pointer"] for fault in body["errors"]} == {"#/prompt", "#/steps", "#/colour"}
    assert "steps must be at least 1" in body["detail"]
    assert "known are task, prompt" in body["detail"]


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "true", "null0", "--1"]
)
@pytest.mark.parametrize("field", ["guidance_scale", "steps", "colour"])
def test_a_number_that_is_none_is_a_clean_error(client: TestClient, field: str, number: str) -> None:
    body = f'{{"task": "text_to_image", "prompt": "a cat", "{field}": {number}}}'
    response = client.post(JOBS, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    problem(response, response.status_code, "bad-request" if response.status_code == 400 else "invalid")
    said = response.json()
    del said["instance"]  # a random name, which may hold any digits
    assert "999" not in str(said)


@pytest.mark.parametrize(
    "body",
    [
        b'{"task": "text_to_image", "prompt": "\\ud800"}',
        b'{"task": "text_to_image", "prompt": "a cat", "\\ud800": 1}',
        b'{"task": "text_to_image", "prompt": "a cat", "sampler": "\\udfff"}',
        b'{"task": "text_to_image", "prompt": "a cat", "model": "\\u0000"}',
    ],
)
def test_text_that_is_no_unicode_is_a_clean_error(client: TestClient, body: bytes) -> None:
    problem(client.post(JOBS, content=body, headers={"content-type": "application/json"}), 422, "invalid")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"prompt": "\\x"}', b"[]", b"null", b'"text"', b"7"]
)
def test_a_body_that_is_no_wish_is_a_clean_error(client: TestClient, body: bytes) -> None:
    response = client.post(JOBS, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    problem(response, response.status_code, "bad-request" if response.status_code == 400 else "invalid")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_wish_that_does_not_call_itself_json_is_refused(client: TestClient, kind: str) -> None:
    response = client.post(JOBS, content=b'{"task": "text_to_image"}', headers={"content-type": kind})
    problem(response, 415, "unsupported-media-type")


def test_nothing_that_was_sent_comes_back(client: TestClient) -> None:
    wish = {"task": "swordfish", "prompt": ["swordfish"], "seed": "swordfish", "model": {"a": "swordfish"}}
    body = problem(client.post(JOBS, json=wish), 422, "invalid")
    assert "swordfish" not in json.dumps(body)


def test_an_unknown_model_lists_those_there_are(client: TestClient) -> None:
    wish = {"task": "text_to_image", "prompt": "a cat", "model": "swordfish"}
    body = problem(client.post(JOBS, json=wish), 422, "invalid")
    assert body["errors"] == [{"pointer": "#/model", "detail": "must be one of storybook"}]


@pytest.mark.parametrize(
    ("fields", "pointer"), [({"width": 65}, "#/width"), ({"height": 4096}, "#/height"), ({"sampler": "x"}, "#/sampler")]
)
def test_what_the_model_cannot_do_is_refused_with_its_limits(
    client: TestClient, fields: dict[str, Any], pointer: str
) -> None:
    wish = {"task": "text_to_image", "prompt": "a cat", **fields}
    body = problem(client.post(JOBS, json=wish), 422, "invalid")
    assert [fault["pointer"] for fault in body["errors"]] == [pointer]


def test_while_no_model_is_known_a_client_is_told_to_come_back(bare_client: TestClient) -> None:
    for response in (
        bare_client.post(JOBS, json={"task": "text_to_image", "prompt": "a cat"}),
        bare_client.get("/api/v1/models"),
    ):
        problem(response, 503, "no-models")
        assert int(response.headers["retry-after"]) > 0


def test_a_full_queue_is_said_so(settings: Settings, client: TestClient, submit: Callable[..., object]) -> None:
    full = create_app(settings.model_copy(update={"max_queued_jobs": 1}))
    submit()
    with TestClient(full, base_url=str(client.base_url)) as other:
        response = other.post(JOBS, json={"task": "text_to_image", "prompt": "a cat"})
    problem(response, 503, "queue-full")
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", f"{JOBS}/{'0' * 32}", f"{JOBS}/no-id", "/static/no"])
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    problem(client.get(path), 404, "not-found")


def test_a_method_that_is_not_offered_names_those_that_are(client: TestClient) -> None:
    response = client.delete(JOBS)
    problem(response, 405, "method-not-allowed")
    assert "POST" in response.headers["allow"] or "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=%00", "state=dreaming", "cursor=" + "9" * 300]
)
def test_a_query_that_makes_no_sense_is_refused(client: TestClient, query: str) -> None:
    body = problem(client.get(f"{JOBS}?{query}"), 422, "invalid")
    assert body["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", JOBS),
        ("GET", f"{JOBS}/{'0' * 32}?wait=1"),
        ("GET", f"{JOBS}/{'0' * 32}/events"),
        ("POST", f"{JOBS}/{'0' * 32}/cancel"),
        ("POST", f"{JOBS}/{'0' * 32}/retry"),
        ("GET", "/api/v1/images"),
        ("GET", f"/api/v1/images/{'0' * 32}/content"),
        ("GET", "/api/v1/models"),
        ("GET", "/api/v1/samplers"),
        ("GET", "/readyz"),
    ],
)
def test_while_the_database_is_away_a_client_is_told_to_come_back(settings: Settings, method: str, path: str) -> None:
    # Nothing listens on port 1.
    away = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    with TestClient(create_app(away), base_url="http://localhost") as client:
        response = client.request(method, path)
        assert client.get("/healthz").status_code == 200
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


def test_an_id_that_cannot_be_is_not_looked_up(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.house.store, "get", pytest.fail)
    # PostgreSQL could not even be asked about the first.
    for id in ("%00", "0" * 31, "A" * 32):
        problem(client.get(f"{JOBS}/{id}"), 404, "not-found")


def test_a_defect_is_an_internal_error_that_tells_only_the_log(app: FastAPI, client: TestClient) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("swordfish")

    response = client.get("/broken")
    problem(response, 500, "internal")
    assert "swordfish" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("error", [kind for kind in vars(failures).values() if isinstance(kind, type)])
def test_every_error_of_the_hallway_that_a_request_can_meet_is_foreseen(error: type) -> None:
    # A principal is made on a terminal alone.
    unforeseen = (failures.JobsError, failures.SettingsError, failures.BadKey, failures.BadPrincipal)
    if not issubclass(error, failures.JobsError) or error in unforeseen:
        return
    made = error.__new__(error)
    for attribute in ("field", "message", "known", "state", "limit", "role"):
        setattr(made, attribute, "x")
    made.retry_after_s = 1.0  # type: ignore[attr-defined]
    assert not isinstance(problem_of(made), Internal)


def test_the_tree_drawn_in_the_module_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    # Dialects have kinds of their own.
    for kind in [kind for kind in errors.kinds() if kind.__module__ == errors.__name__]:
        line = next(line for line in drawn.splitlines() if line.split()[:1] == [kind.__name__])
        assert str(int(kind.status)) in line
