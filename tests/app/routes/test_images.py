"""Pictures over HTTP: the file as it was developed, which a client may keep for ever."""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pixels

from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Image, Job, Store

IMAGES = "/api/v1/images"

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def image(submit: Submit, develop: Callable[[], Job]) -> Image:
    """A published picture."""
    submit(seed=5)
    return develop().images[0]


@pytest.mark.parametrize(
    ("format", "kind", "name"),
    [("png", "image/png", "5.png"), ("webp", "image/webp", "5.webp"), ("jpeg", "image/jpeg", "5.jpg")],
)
def test_the_content_is_the_file_that_was_developed(
    client: TestClient, submit: Submit, develop: Callable[[], Job], format: str, kind: str, name: str
) -> None:
    submit(seed=5, format=format)
    image = develop().images[0]
    response = client.get(f"{IMAGES}/{image.id}/content")
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"] == f'inline; filename="darkroom-{name}"'
    assert hashlib.sha256(response.content).hexdigest() == image.sha256
    assert Pixels.open(io.BytesIO(response.content)).size == (128, 128)


@pytest.mark.parametrize("part", ["content", "thumbnail/256"])
def test_a_file_may_be_kept_for_ever_and_is_not_sent_twice(client: TestClient, image: Image, part: str) -> None:
    url = f"{IMAGES}/{image.id}/{part}"
    first = client.get(url)
    etag = first.headers["etag"]
    assert image.sha256 in etag
    assert etag.startswith('"')
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert first.headers["x-content-type-options"] == "nosniff"
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = client.get(url, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert client.get(url, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("part", ["content", "thumbnail/256"])
def test_a_head_has_the_headers_of_a_get_and_no_body(client: TestClient, image: Image, part: str) -> None:
    url = f"{IMAGES}/{image.id}/{part}"
    got, head = client.get(url), client.head(url)
    assert head.status_code == 200
    assert head.content == b""
    ignored = {"x-request-id", "date"}
    assert {name: value for name, value in head.headers.items() if name not in ignored} == {
        name: value for name, value in got.headers.items() if name not in ignored
    }


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=5-", 5, -1), ("bytes=-7", -7, -1), ("bytes=3-999999", 3, -1),
     ("bytes=-999999", 0, -1)],
)  # fmt: skip
@pytest.mark.parametrize("part", ["content", "thumbnail/256"])
def test_a_part_of_a_file_may_be_asked_for(
    client: TestClient, image: Image, part: str, asked: str, first: int, last: int
) -> None:
    whole = client.get(f"{IMAGES}/{image.id}/{part}")
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    first, last = first % size, last % size

    response = client.get(f"{IMAGES}/{image.id}/{part}", headers={"range": asked})

    assert response.status_code == 206
    assert response.content == whole.content[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert response.headers["content-length"] == str(last - first + 1)
    assert response.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=-", "lines=0-1", "bytes=x-y", "bytes=" + "9" * 19 + "-"])
def test_a_range_that_is_not_one_is_the_whole(client: TestClient, image: Image, asked: str) -> None:
    response = client.get(f"{IMAGES}/{image.id}/content", headers={"range": asked})
    assert (response.status_code, len(response.content)) == (200, image.size_bytes)


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(client: TestClient, image: Image, asked: str) -> None:
    response = client.get(f"{IMAGES}/{image.id}/content", headers={"range": asked})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{image.size_bytes}"
    assert response.json()["type"].endswith(":range-not-satisfiable")


def test_a_range_of_another_version_is_the_whole(client: TestClient, image: Image) -> None:
    url = f"{IMAGES}/{image.id}/content"
    etag = client.get(url).headers["etag"]
    assert client.get(url, headers={"range": "bytes=0-1", "if-range": '"other"'}).status_code == 200
    assert client.get(url, headers={"range": "bytes=0-1", "if-range": etag}).status_code == 206


def test_the_thumbnail_is_a_webp(client: TestClient, image: Image) -> None:
    response = client.get(f"{IMAGES}/{image.id}/thumbnail/256")
    assert response.headers["content-type"] == "image/webp"
    assert Pixels.open(io.BytesIO(response.content)).format == "WEBP"
    for side in ("255", "2048", "x", "256.0", "0512"):
        assert client.get(f"{IMAGES}/{image.id}/thumbnail/{side}").status_code == 404


@pytest.fixture
def large(store: Store, make_params: Callable[..., Any], client: TestClient, develop: Callable[[], Job]) -> Image:
    """A published picture of 1280 x 640 pixels."""
    store.submit(make_params().model_copy(update={"width": 1280, "height": 640}), "local")
    return develop().images[0]


@pytest.mark.parametrize(("side", "size"), [(512, (512, 256)), (1024, (1024, 512))])
def test_a_larger_thumbnail_is_made_when_it_is_first_asked_for(
    client: TestClient, store: Store, settings: Settings, large: Image, side: int, size: tuple[int, int]
) -> None:
    storage, url = open_storage(settings.resolved_storage_url), f"{IMAGES}/{large.id}/thumbnail/{side}"
    published = set(storage.list())
    first = client.get(url)
    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    assert Pixels.open(io.BytesIO(first.content)).size == size
    (made,) = set(storage.list()) - published
    assert not store.is_orphan(made)
    again = client.get(url)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert client.get(url, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert client.get(url, headers={"range": "bytes=0-9"}).content == first.content[:10]
    assert client.head(url).headers["content-length"] == str(len(first.content))
    storage.delete(made)
    assert client.get(url).content == first.content


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_a_thumbnail_is_never_larger_than_the_picture(
    client: TestClient, settings: Settings, image: Image, side: int
) -> None:
    before = set(open_storage(settings.resolved_storage_url).list())
    response = client.get(f"{IMAGES}/{image.id}/thumbnail/{side}")
    assert Pixels.open(io.BytesIO(response.content)).size == (image.width, image.height)
    assert set(open_storage(settings.resolved_storage_url).list()) == before


def test_a_thumbnail_is_made_once_by_many_who_ask_at_once(
    client: TestClient, settings: Settings, large: Image
) -> None:
    url = f"{IMAGES}/{large.id}/thumbnail/512"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.get(url), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len([key for key in open_storage(settings.resolved_storage_url).list() if "thumb512" in key]) == 1


def test_a_picture_tells_its_recipe_and_facts(client: TestClient, image: Image) -> None:
    found = client.get(f"{IMAGES}/{image.id}").json()
    assert found["params"]["prompt"] == "a red cat"
    assert found["params"]["model_revision"] == "r1"
    assert (found["job_id"], found["seed"], found["format"]) == (image.job_id, 5, "png")
    assert found["fingerprint"] == "cpu-test"
    assert found["sha256"] == image.sha256
    assert found["url"] == f"{IMAGES}/{image.id}/content"


def test_pictures_are_listed_newest_first_page_by_page(
    client: TestClient, submit: Submit, develop: Callable[[], Job]
) -> None:
    made = []
    for _ in range(3):
        submit()
        made.append(develop().images[0].id)
    first = client.get(f"{IMAGES}?limit=2")
    second = client.get(first.links["next"]["url"])
    assert [image["id"] for image in first.json()["items"] + second.json()["items"]] == made[::-1]
    assert "next" not in second.links


@pytest.mark.parametrize("part", ["", "/content", "/thumbnail/256"])
@pytest.mark.parametrize("id", ["0" * 32, "..%2f..%2fetc%2fpasswd", "x", "%00"])
def test_a_picture_that_is_not_there_is_not_found(client: TestClient, id: str, part: str) -> None:
    assert client.get(f"{IMAGES}/{id}{part}").status_code == 404


def test_somebody_elses_picture_is_not_there(
    client: TestClient, store: Store, make_params: Callable[..., Any], develop: Callable[[], Job]
) -> None:
    store.submit(make_params(), "somebody-else")
    image = develop().images[0]
    for part in ("", "/content", "/thumbnail/256"):
        assert client.get(f"{IMAGES}/{image.id}{part}").status_code == 404
    assert client.get(f"/images/{image.id}").status_code == 404
    assert client.post(f"/images/{image.id}/again").status_code == 404
    assert client.get(f"/api/v1/jobs/{image.job_id}").status_code == 404
    assert client.post(f"/api/v1/jobs/{image.job_id}/retry").status_code == 404
    assert client.post(f"/api/v1/jobs/{image.job_id}/cancel").status_code == 404
    assert client.get(IMAGES).json()["items"] == client.get("/api/v1/jobs").json()["items"] == []


def test_a_file_that_was_lost_is_not_found(client: TestClient, large: Image, settings: Settings) -> None:
    for key in (large.key, large.thumbnail_key):
        open_storage(settings.resolved_storage_url).delete(key)
    for part in ("content", "thumbnail/256", "thumbnail/512"):
        assert client.get(f"{IMAGES}/{large.id}/{part}").status_code == 404
