"""The four tasks from an upload to pixels, with nothing replaced: API, database, storage, worker, real networks."""

import base64
import io
import sqlite3
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from app.jobs import recipe
from tests.app.pictures import data_uri, mask, photo
from tests.e2e.conftest import MODEL, Up

pytestmark = pytest.mark.e2e

Pixels = np.ndarray[Any, Any]

FEATHER = 5


def array(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def upload(service: Up, data: bytes, kind: str = "png") -> dict[str, Any]:
    headers = {"Content-Type": f"image/{kind}"}
    response = httpx2.post(f"{service.url}/api/v1/uploads", content=data, headers=headers, timeout=30)
    assert response.status_code == 201, response.text
    return dict(response.json())


def developed(service: Up, **wish: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The job when it is done, and its files."""
    job = service.result(service.submit(**wish))
    assert job["state"] == "succeeded", job
    files = [httpx2.get(service.url + image["url"], timeout=30).content for image in job["images"]]
    return job, files


def grown(marked: Pixels, by: int) -> Pixels:
    """The marks and all pixels within `by` of them, diagonals counted as one."""
    result = marked.copy()
    for _ in range(by):
        padded = np.pad(result, 1)
        height, width = result.shape
        result = np.maximum.reduce([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    return result


@pytest.mark.parametrize("size", [(64, 64), (96, 72), (301, 197)])
def test_outside_mask_and_feather_every_pixel_is_the_inputs(service: Up, size: tuple[int, int]) -> None:
    image, marked = photo(*size), mask(*size, box=(20, 24, 41, 43))
    job, files = developed(
        service, task="inpaint", image=f"upload:{upload(service, image)['id']}",
        mask=f"upload:{upload(service, marked)['id']}", feather=FEATHER, num_images=2, steps=3,
    )  # fmt: skip
    assert job["progress"] == {"step": 6, "steps": 6}
    stays = ~grown(array(marked)[:, :, 0] > 127, FEATHER)
    for file in files:
        assert array(file).shape == (size[1], size[0], 3)
        assert np.array_equal(array(file)[stays], array(image)[stays])
        # and inside there is something else, or the model has not been asked
        assert np.abs(array(file) - array(image))[~stays].max() > 10
    assert files[0] != files[1]


def test_a_mask_by_transparency_leaves_what_is_opaque(service: Up) -> None:
    with Image.open(io.BytesIO(photo(64, 64))) as picture:
        cut = picture.convert("RGBA")
    cut.paste((0, 0, 0, 0), (10, 10, 30, 30))
    buffer = io.BytesIO()
    cut.save(buffer, "WEBP", lossless=True)
    transparent = data_uri(buffer.getvalue(), "webp")
    _, (file,) = developed(
        service, task="inpaint", image=transparent, mask=transparent, mask_mode="transparent", steps=2
    )
    changed = np.abs(array(file) - array(photo(64, 64))).max(axis=2) > 0
    assert changed[10:30, 10:30].any()
    changed[10:30, 10:30] = False
    assert not changed.any()


def test_a_picture_leads_to_another_the_more_so_the_smaller_the_strength(service: Up) -> None:
    image = upload(service, photo(100, 70, "JPEG"), "jpeg")
    original = array(photo(100, 70))
    away = []
    for strength in (0.1, 1.0):
        job, (file,) = developed(
            service, task="image_to_image", image=f"upload:{image['id']}", strength=strength, steps=10, seed=3
        )
        assert (job["params"]["width"], job["params"]["height"]) == array(file).shape[1::-1] == (100, 70)
        assert job["progress"]["steps"] == max(1, int(10 * strength))
        away.append(np.abs(array(file) - original).mean())
    assert away[0] < away[1]


def test_a_result_is_as_large_as_it_was_asked_for(service: Up) -> None:
    wish = {"task": "image_to_image", "image": data_uri(photo(200, 100)), "steps": 2, "width": 64, "height": 64}
    assert array(developed(service, **wish)[1][0]).shape == (64, 64, 3)
    assert array(developed(service, **wish, fit="contain")[1][0]).shape == (32, 64, 3)


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlargement_agrees_with_its_original(service: Up, scale: int) -> None:
    small = photo(31, 22)
    job, (file,) = developed(
        service, task="super_resolution", prompt="", image=data_uri(small), scale=scale, consistent=True
    )
    assert job["params"]["model"] == "storybook-x4"  # the one that ships, where two are served
    large = array(file)
    assert large.shape == (22 * scale, 31 * scale, 3)
    boxes = large.reshape(22, scale, 31, scale, 3).mean(axis=(1, 3))
    assert np.abs(boxes - array(small)).max() <= 1.0


def test_what_was_developed_is_made_into_something_else(service: Up) -> None:
    job, (file,) = developed(service, steps=2)
    again, (edited,) = developed(
        service, task="super_resolution", prompt="", image=f"image:{job['images'][0]['id']}", scale=2
    )
    assert array(edited).shape == (2 * array(file).shape[0], 2 * array(file).shape[1], 3)
    assert again["params"]["image"].startswith("sha256:")


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_the_recipe_in_the_file_names_what_it_was_made_from(service: Up, format: str) -> None:
    image, marked = upload(service, photo(64, 64)), upload(service, mask(64, 64))
    job, (file,) = developed(
        service, task="inpaint", image=f"upload:{image['id']}", mask=f"upload:{marked['id']}", steps=2, seed=9,
        format=format, prompt="a (red:1.2) ball", prompt_syntax="weighted", guidance_interval=[0, 0.5],
    )  # fmt: skip
    found = recipe.read(file)
    assert (found.task, found.seed, found.model) == ("inpaint", 9, MODEL)
    assert (found.image, found.mask) == (f"sha256:{image['sha256']}", f"sha256:{marked['sha256']}")
    assert found.guidance_interval == (0.0, 0.5)
    assert found.prompt_syntax == "weighted"
    assert job["params"]["guidance_interval"] == [0.0, 0.5]


def test_a_retry_works_after_the_upload_has_expired_and_is_the_same_picture(service: Up) -> None:
    image = upload(service, photo(64, 64))
    wish = {"task": "image_to_image", "image": f"upload:{image['id']}", "steps": 3}
    job, files = developed(service, **wish)
    with sqlite3.connect(service.data_dir / "darkroom.sqlite3", timeout=30) as database:
        assert database.execute("UPDATE uploads SET expires_at = 0 WHERE id = ?", (image["id"],)).rowcount == 1
        database.execute("UPDATE blobs SET touched_at = 0")
    database.close()
    refused = httpx2.post(f"{service.url}/api/v1/jobs", json={"prompt": "a ball", **wish}, timeout=30)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/image"
    response = httpx2.post(f"{service.url}{job['links']['self']}/retry", timeout=30)
    assert response.status_code == 202, response.text
    again = service.result(response.json())
    assert again["state"] == "succeeded", again
    assert httpx2.get(service.url + again["images"][0]["url"], timeout=30).content == files[0]


def test_the_data_uri_of_a_job_is_told_to_nobody(service: Up) -> None:
    secret = base64.b64encode(photo(64, 64)).decode()[40:80]
    job = service.submit(task="image_to_image", image=data_uri(photo(64, 64)), steps=2)
    service.result(job)
    assert secret not in httpx2.get(service.url + job["links"]["self"], timeout=30).text
    assert all(secret.encode() not in log.read_bytes() for log in service.data_dir.rglob("*.log"))
