"""The door keeps other web pages out, bounds every body, and sends every response off with its headers."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from app import security
from app.main import LARGE_BODIES, answer
from app.security import MAX_BODY_BYTES, Door

JOBS = "/api/v1/jobs"
WISH = {"task": "text_to_image", "prompt": "a cat"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::2]", "localhost@evil.example"]
)
def test_a_rebound_name_is_refused(client: TestClient, host: str) -> None:
    response = client.get("/api/v1/models", headers={"host": host})
    assert response.status_code == 400
    assert response.json()["type"].endswith(":wrong-host")
    assert "evil" not in response.text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "LOCALHOST:7860", "127.0.0.1:7860", "[::1]:7860", "[::1]"]
)
def test_every_name_of_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:7861"},
        {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/{'0' * 32}/cancel", "/", "/nowhere"])
def test_another_page_can_change_nothing(client: TestClient, path: str, headers: dict[str, str]) -> None:
    response = client.post(path, json=WISH, headers=headers)
    assert response.status_code == 403
    assert response.json()["type"].endswith(":cross-site")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:7860"},
    ],
)
def test_our_pages_and_clients_that_are_no_browser_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post(JOBS, json=WISH, headers=headers).status_code == 202


def test_another_page_may_link_here(client: TestClient) -> None:
    assert client.get("/images", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/images", "/api/v1/models", "/healthz", "/static/live.js", "/nowhere", "/openapi.json"]
)
def test_every_response_is_bounded_by_the_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_requests_have_different_names(client: TestClient) -> None:
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]


LIMITS = {"/": MAX_BODY_BYTES, "/jobs/x/cancel": MAX_BODY_BYTES, **LARGE_BODIES}
DIALECTS = ("/v1/", "/sdapi/")


@pytest.mark.parametrize(("path", "limit"), LIMITS.items())
def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient, path: str, limit: int) -> None:
    headers = {"content-type": "application/json", "content-length": str(limit + 1)}
    response = client.post(path, content=b"{}", headers=headers)
    assert response.status_code == 413
    if not path.startswith(DIALECTS):  # which say it in shapes of their own
        assert response.json()["type"].endswith(":too-large")


@pytest.mark.parametrize("path", [JOBS, "/"])
def test_a_body_that_grows_too_large_is_cut_off(client: TestClient, path: str) -> None:
    def growing() -> Iterator[bytes]:
        # A generator has no length, so the client declares none.
        for _ in range(LIMITS[path] // 65_536 + 1):
            yield b" " * 65_536

    kind = "application/json" if path == JOBS else "application/x-www-form-urlencoded"
    response = client.post(path, content=growing(), headers={"content-type": kind, "accept": "application/json"})
    assert response.status_code == 413
    assert response.json()["type"].endswith(":too-large")


def test_a_body_of_the_largest_size_is_read(client: TestClient) -> None:
    body = b'{"task": "text_to_image", "prompt": "a cat"}'.ljust(MAX_BODY_BYTES)
    response = client.post(JOBS, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 202


def test_a_body_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MAX_BODY_S", 0.05)
    sent: list[Message] = []

    async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async def stalls() -> Message:
        if not sent:
            sent.append({"type": "none"})
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.sleep(60)
        raise AssertionError("nobody gave up")

    async def keeps(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/jobs", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"localhost")], "server": ("localhost", 80),
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(Door(reads_all, answer)(scope, stalls, keeps), 10))
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [408]


def test_bodies_that_come_in_a_crowd_are_asked_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MAX_BODIES_BYTES", 300)
    large = client.post(JOBS, json=WISH | {"prompt": "x" * 300})
    assert large.status_code == 503
    assert int(large.headers["retry-after"]) > 0
    # What was answered takes no room any more, however it ended.
    for _ in range(5):
        assert client.post(JOBS, json=WISH).status_code == 202
        assert client.post(JOBS, json={}).status_code == 422
