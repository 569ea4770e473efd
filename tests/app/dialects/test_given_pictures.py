"""Pictures that come with a job count as uploads of whoever sends them, whichever way they come."""

import base64
from collections.abc import Callable, Iterator

import httpx2
import pytest

from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Limits, Store
from app.main import create_app
from tests.app.conftest import served
from tests.app.dialects.conftest import ENTRY, Hands
from tests.app.pictures import noise

SIDE = 300
EDITS, IMG2IMG, JOBS = "/v1/images/edits", "/sdapi/v1/img2img", "/api/v1/jobs"

# So many bytes has a plain picture of noise, at least: three of them fit into a megabyte, and four do not.
LEAST_BYTES = 250_000


@pytest.fixture
def client(
    own_service: tuple[Settings, Store], make_hands: Callable[[Settings, Store], Hands]
) -> Iterator[httpx2.Client]:
    """Somebody who may keep uploads of one megabyte."""
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    token = store.keys.create("ann", limits=Limits(uploads_mb=1)).token
    make_hands(settings, store)
    with (
        served(create_app(settings)) as url,
        httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client,
    ):
        yield client


def edit(client: httpx2.Client, picture: bytes) -> httpx2.Response:
    form = {"prompt": "a cat", "steps": "2"}
    return client.post(EDITS, data=form, files={"image": ("a.png", picture, "image/png")})


def img2img(client: httpx2.Client, picture: bytes) -> httpx2.Response:
    size = {"width": SIDE, "height": SIDE}
    return client.post(IMG2IMG, json={"init_images": [base64.b64encode(picture).decode()], "prompt": "a cat", **size})


def job(client: httpx2.Client, picture: bytes) -> httpx2.Response:
    uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return client.post(JOBS, json={"task": "image_to_image", "prompt": "a cat", "image": uri})


def test_what_is_sent_with_a_job_counts_and_what_is_too_much_is_refused_and_not_kept(
    client: httpx2.Client, own_service: tuple[Settings, Store]
) -> None:
    settings, store = own_service
    storage = open_storage(settings.resolved_storage_url)
    first, second, third, fourth = (noise(SIDE, SIDE, seed) for seed in range(4))
    assert edit(client, first).status_code == 200
    assert img2img(client, second).status_code == 200
    assert job(client, third).status_code == 202
    # Sent again, it is the same upload, also where it comes another way.
    assert edit(client, first).status_code == img2img(client, first).status_code == 200
    kept = set(storage.list("blobs"))
    assert len(kept) == 3
    assert sum(len(storage.get(key)) for key in kept) > 3 * LEAST_BYTES

    for ask in (edit, img2img, job):
        refused = ask(client, fourth)
        assert refused.status_code == 429, refused.text
        assert int(refused.headers["retry-after"]) > 0
        assert "uploads" in refused.text
    assert set(storage.list("blobs")) == kept
    assert len(store.jobs(None).items) == 5


def test_a_picture_of_ones_own_that_is_here_already_is_no_upload(
    client: httpx2.Client, own_service: tuple[Settings, Store]
) -> None:
    made = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "width": 128, "height": 128})
    assert made.status_code == 200
    image = own_service[1].images("ann").items[0]
    wish = {"task": "image_to_image", "prompt": "a cat", "image": f"image:{image.id}"}
    assert client.post(JOBS, json=wish).status_code == 202
    for seed in range(3):
        assert job(client, noise(SIDE, SIDE, seed)).status_code == 202
