"""Uploads over HTTP: a picture comes in raw or in a form, and whatever else comes is refused for what it is."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.jobs import pictures
from app.jobs.failures import StorageFull
from app.jobs.settings import Settings
from app.jobs.spec import MAX_FILE_BYTES
from app.jobs.storage import open_storage
from app.jobs.storage.local import LocalStorage
from app.routes.uploads import MAX_BODY_BYTES
from tests.app.pictures import file_of, photo

UPLOADS = "/api/v1/uploads"
OCTETS = {"content-type": "application/octet-stream"}


def kept(settings: Settings) -> list[str]:
    return list(open_storage(settings.resolved_storage_url).list("blobs/"))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_is_kept_and_told(client: TestClient, settings: Settings, kind: str) -> None:
    data = photo(format=kind.upper())
    response = client.post(UPLOADS, content=data, headers={"content-type": f"image/{kind}"})
    assert response.status_code == 201
    told = response.json()
    assert set(told) == {"id", "width", "height", "sha256", "bytes", "expires_at"}
    assert (told["width"], told["height"]) == (96, 64)
    lasts = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert abs(lasts - timedelta(days=1)) < timedelta(minutes=1)
    (key,) = kept(settings)
    stored = open_storage(settings.resolved_storage_url).get(key)
    assert (hashlib.sha256(stored).hexdigest(), len(stored)) == (told["sha256"], told["bytes"])


@pytest.mark.parametrize("field", ["file", "image", "whatever"])
def test_a_form_with_one_file_is_the_same_as_the_file(client: TestClient, field: str) -> None:
    raw = client.post(UPLOADS, content=photo(), headers=OCTETS).json()
    form = client.post(UPLOADS, files={field: ("cat.png", photo(), "image/png")}, data={"note": "mine"})
    assert form.status_code == 201
    assert form.json()["sha256"] == raw["sha256"]
    assert form.json()["id"] != raw["id"]


def test_a_large_file_in_a_form_is_taken(client: TestClient) -> None:
    # Larger than what a form keeps in memory.
    noise = Image.effect_noise((1400, 1400), 200).convert("RGB")
    data = file_of(noise, compress_level=0)
    assert len(data) > 2 << 20
    assert client.post(UPLOADS, files={"file": data}).status_code == 201


HOSTILE: dict[str, tuple[bytes, int]] = {
    "no bytes": (b"", 422),
    "text": (b"hello", 422),
    "a page": (b"<html><script>alert(1)</script></html>", 422),
    "a gif": (file_of(Image.new("RGB", (4, 4)), "GIF"), 422),
    "half a picture": (photo()[:200], 422),
    "a side too long": (file_of(Image.new("1", (4097, 1))), 422),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("way", ["raw", "form"])
def test_what_is_no_picture_is_refused_in_words(
    client: TestClient, settings: Settings, kind: str, way: str
) -> None:
    data, status = HOSTILE[kind]
    sent: dict[str, Any] = {"content": data, "headers": {"content-type": "image/png"}}
    response = client.post(UPLOADS, **(sent if way == "raw" else {"files": {"file": ("x.png", data, "image/png")}}))
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    (fault,) = response.json()["errors"]
    assert fault["detail"].startswith("must be a ")
    assert "script" not in response.text
    assert kept(settings) == []


@pytest.mark.parametrize(
    "headers", [{"content-type": "text/plain"}, {"content-type": "application/json"}, {"content-type": "image/gif"}, {}]
)
def test_a_body_of_another_kind_is_not_read(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post(UPLOADS, content=photo(), headers=headers)
    assert response.status_code == 415
    assert "image/webp" in response.json()["detail"]


@pytest.mark.parametrize("files", [[], [("a", photo()), ("b", photo())]])
def test_a_form_holds_one_file_no_less_and_no_more(client: TestClient, files: list[Any]) -> None:
    body = {"files": files} if files else {"data": {"note": "no file"}, "files": {"x": (None, "text")}}
    assert client.post(UPLOADS, **body).status_code in (400, 422)


def test_a_form_that_is_none_is_refused(client: TestClient) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        assert client.post(UPLOADS, content=b"nothing", headers={"content-type": kind}).status_code in (400, 422)


def test_a_file_too_large_is_refused_before_it_is_looked_at(client: TestClient) -> None:
    for size in (MAX_FILE_BYTES + 1, MAX_BODY_BYTES + 1):
        response = client.post(UPLOADS, content=b"\x89PNG\r\n\x1a\n".ljust(size), headers=OCTETS)
        assert response.status_code == 413
        assert response.json()["type"].endswith(":too-large")


def test_too_many_large_ones_at_once_are_asked_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "LARGE_PIXELS", 10)
    held = [pictures._line.acquire(blocking=False) for _ in range(pictures._MAX_IN_LINE)]
    try:
        response = client.post(UPLOADS, content=photo(), headers=OCTETS)
    finally:
        for _ in held:
            pictures._line.release()
    assert all(held)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


def test_a_full_disk_is_said_and_leaves_no_upload(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LocalStorage, key: str, data: bytes) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(LocalStorage, "put", full)
    response = client.post(UPLOADS, content=photo(), headers=OCTETS)
    assert response.status_code == 503
    assert "retry-after" in response.headers


def test_another_web_page_can_upload_nothing(client: TestClient) -> None:
    response = client.post(UPLOADS, content=photo(), headers={**OCTETS, "origin": "http://evil.example"})
    assert response.status_code == 403
