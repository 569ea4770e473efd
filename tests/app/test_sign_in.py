"""Pages take a key once: the browser keeps a cookie that no script can read, until it ends."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.deps import SESSION_COOKIE
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Job, Limits, NewKey, Store
from tests.app.pictures import noise

PAGE = {"accept": "text/html"}
JOBS = "/api/v1/jobs"
WISH = {"task": "text_to_image", "prompt": "a cat", "steps": 4}


@pytest.fixture
def made(store: Store) -> NewKey:
    """A key of somebody's."""
    return store.keys.create("ann")


def sign_in(client: TestClient, key: str, **fields: str) -> Any:
    return client.post("/sign-in", data={"key": key, **fields}, headers=PAGE)


def test_a_visitor_without_a_key_is_asked_for_it_where_they_are(client: TestClient, made: NewKey) -> None:
    page = client.get("/images?cursor=9", headers=PAGE)
    assert page.status_code == 401
    assert page.headers["www-authenticate"].startswith("Bearer")
    assert '<input type="hidden" name="next" value="/images?cursor=9">' in page.text
    assert 'type="password"' in page.text
    assert client.get("/sign-in").status_code == 200


def test_the_key_is_shown_once_and_the_pages_and_their_pictures_are_there(
    client: TestClient, made: NewKey, develop: Callable[[], Job]
) -> None:
    answer = sign_in(client, f" {made.token} ", next="/images?cursor=9")
    assert (answer.status_code, answer.headers["location"]) == (303, "/images?cursor=9")

    cookie = answer.headers["set-cookie"]
    assert made.token not in cookie
    assert {part.strip() for part in cookie.split(";")[1:]} == {
        "HttpOnly", "Max-Age=604800", "Path=/", "SameSite=lax",
    }  # fmt: skip
    home = client.get("/", headers=PAGE)
    assert home.status_code == 200
    assert 'action="/sign-out"' in home.text
    assert client.post("/", data={"prompt": "a cat"}, headers=PAGE).status_code == 303
    image = develop().images[0]
    assert image.owner == "ann"
    assert client.get(f"/api/v1/images/{image.id}/content").status_code == 200
    assert client.get(JOBS).json()["items"][0]["state"] == "succeeded"


def test_over_https_the_cookie_stays_there(client: TestClient, made: NewKey) -> None:
    client.base_url = "https://127.0.0.1:7860"
    assert "Secure" in sign_in(client, made.token).headers["set-cookie"]


@pytest.mark.parametrize("key", ["", "dk_", "dk_000000000000_" + "x" * 43])
def test_a_wrong_key_is_asked_for_again_and_not_repeated(client: TestClient, made: NewKey, key: str) -> None:
    answer = sign_in(client, key, next="/images")
    assert answer.status_code == 401
    assert "This key is not valid" in answer.text
    assert 'value="/images"' in answer.text
    assert "set-cookie" not in answer.headers
    assert "xxxx" not in answer.text


@pytest.mark.parametrize(
    "next", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\nb", "/\t/evil.example", "/ä"]
)
def test_nobody_is_led_elsewhere(client: TestClient, made: NewKey, next: str) -> None:
    assert sign_in(client, made.token, next=next).headers["location"] == "/"


def test_signing_out_ends_the_session_also_for_whoever_copied_it(client: TestClient, made: NewKey) -> None:
    sign_in(client, made.token)
    copied = client.cookies[SESSION_COOKIE]
    answer = client.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert SESSION_COOKIE not in client.cookies
    assert client.get(JOBS, headers={"cookie": f"{SESSION_COOKIE}={copied}"}).status_code == 401
    assert client.post("/sign-out").status_code == 303


def test_signing_in_again_is_another_session_and_ends_the_one_before(client: TestClient, made: NewKey) -> None:
    sign_in(client, made.token)
    first = client.cookies[SESSION_COOKIE]
    sign_in(client, made.token)
    assert client.cookies[SESSION_COOKIE] != first
    assert client.get(JOBS).status_code == 200
    client.cookies.clear()
    assert client.get(JOBS, headers={"cookie": f"{SESSION_COOKIE}={first}"}).status_code == 401


def test_a_revoked_key_ends_its_sessions(client: TestClient, store: Store, made: NewKey) -> None:
    sign_in(client, made.token)
    assert client.get(JOBS).status_code == 200
    store.keys.revoke(made.id)
    assert client.get(JOBS).status_code == 401


def test_a_key_that_is_shown_counts_alone(client: TestClient, store: Store, made: NewKey) -> None:
    sign_in(client, made.token)
    bob = {"authorization": f"Bearer {store.keys.create('bob').token}"}
    job = client.post(JOBS, json=WISH, headers=bob).json()
    assert store.get(job["id"], "bob").owner == "bob"
    assert client.get(JOBS, headers={"authorization": "Bearer nonsense"}).status_code == 401


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_another_page_can_neither_sign_in_nor_out(client: TestClient, made: NewKey, path: str) -> None:
    refused = client.post(path, data={"key": made.token}, headers={"origin": "http://evil.example"})
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_a_part_of_a_page_says_it_in_place(client: TestClient, made: NewKey) -> None:
    part = client.get("/", headers={**PAGE, "hx-request": "true"})
    assert part.status_code == 401
    assert part.headers["hx-retarget"] == "#notice"


def test_whoever_asks_too_often_is_told_when_to_come_again(
    client: TestClient, store: Store, made: NewKey, settings: Settings
) -> None:
    store.keys.limit("ann", Limits(requests_per_minute=3))
    headers = {"authorization": f"Bearer {made.token}"}
    assert [client.get(JOBS, headers=headers).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get(JOBS, headers=headers)
    assert refused.json()["type"] == "urn:darkroom:problem:too-often"
    assert 15 <= int(refused.headers["retry-after"]) <= 20
    assert client.get("/healthz", headers=headers).status_code == 200
    other = {"authorization": f"Bearer {store.keys.create('bob').token}"}
    assert client.get(JOBS, headers=other).status_code == 200


def test_the_key_s_share_and_the_server_s_are_told_apart(client: TestClient, store: Store, made: NewKey) -> None:
    store.keys.limit("ann", Limits(queued_jobs=1, job_cost=1e6))
    headers = {"authorization": f"Bearer {made.token}"}
    assert client.post(JOBS, json=WISH, headers=headers).status_code == 202
    full = client.post(JOBS, json=WISH, headers=headers)
    assert (full.status_code, full.json()["type"]) == (429, "urn:darkroom:problem:quota-reached")
    assert int(full.headers["retry-after"]) == 10
    large = client.post(JOBS, json=WISH | {"steps": 1000}, headers=headers)
    assert (large.status_code, large.json()["type"]) == (403, "urn:darkroom:problem:too-costly")
    assert "1e+06 is the most" in large.json()["detail"]


def test_uploads_beyond_the_quota_write_nothing(
    client: TestClient, store: Store, made: NewKey, settings: Settings
) -> None:
    store.keys.limit("ann", Limits(uploads_mb=1))
    headers = {"authorization": f"Bearer {made.token}", "content-type": "image/png"}
    assert client.post("/api/v1/uploads", content=noise(500, 400), headers=headers).status_code == 201
    before = list(open_storage(settings.resolved_storage_url).list())
    refused = client.post("/api/v1/uploads", content=noise(500, 401), headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:darkroom:problem:quota-reached")
    assert int(refused.headers["retry-after"]) > 3600
    assert list(open_storage(settings.resolved_storage_url).list()) == before
