"""Steps and verifications over HTTP: what is told of them, who may ask, and what is refused at once."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image as Pixels

from app.deps import principal
from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Answered, Claim, Image, Principal, PublishedImage, Store, Succeeded, TrajectoryPart

IMAGES = "/api/v1/images"
JOBS = "/api/v1/jobs"
HERE = "cpu-test"
TIMINGS = {"text_s": 0.1, "denoise_s": 0.0, "decode_s": 0.3, "encode_s": 0.05}
VERDICT = {
    "equal": True, "same_file": True, "differing_pixels": 0, "largest_difference": 0, "sha256": "b" * 64,
    "model_revision": "r1", "fingerprint": HERE,
}  # fmt: skip

Publish = Callable[..., Image]


@pytest.fixture
def publish(submit: Callable[..., Any], store: Store, claim: Callable[[], Claim]) -> Publish:
    """Makes a picture of four steps."""

    def make(**fields: object) -> Image:
        submit(**fields)
        mine = claim()
        key = f"{mine.job_id}/1-0"
        kept = (TrajectoryPart(1, 4, f"{key}.x0-1.npy", "a" * 64),) if mine.params.save_trajectory else ()  # type: ignore[union-attr]
        image = PublishedImage(0, 7, 128, 128, "c" * 64, 9, f"{key}.png", f"{key}.webp", kept)
        assert store.finish(mine, Succeeded((image,), TIMINGS, "r1", HERE))
        return store.get(mine.job_id, "local").images[0]

    return make


@pytest.fixture
def image(publish: Publish, store: Store) -> Image:
    """A reproducible picture whose steps are kept, and a worker that could make it again."""
    store.worker_beat("worker-1", {"fingerprint": HERE})
    return publish(reproducible=True, save_trajectory=True)


def decode(store: Store, settings: Settings) -> bytes:
    """Do a worker's work for the decode that waits; returns the picture."""
    claim = store.claim_next("worker-1", ["storybook"])
    assert claim is not None
    file = io.BytesIO()
    Pixels.new("RGB", (128, 128)).save(file, "PNG")
    key = f"{claim.job_id}/1-0.png"
    open_storage(settings.resolved_storage_url).put(key, file.getvalue())
    found = {"step": 2, "width": 128, "height": 128, "sha256": "d" * 64, "size_bytes": len(file.getvalue()), "key": key}
    assert store.finish(claim, Answered(found, TIMINGS, "r1", decoded_key=key))
    return file.getvalue()


def test_the_steps_that_are_kept_are_listed(client: TestClient, image: Image) -> None:
    told = client.get(f"{IMAGES}/{image.id}/trajectory").json()
    assert told["image_id"] == image.id
    assert [(step["step"], step["decoded"]) for step in told["steps"]] == [(n, False) for n in (1, 2, 3, 4)]
    assert told["steps"][1]["url"] == f"{IMAGES}/{image.id}/trajectory/2"


def test_of_a_picture_that_kept_none_there_are_none(client: TestClient, publish: Publish) -> None:
    image = publish()
    assert client.get(f"{IMAGES}/{image.id}/trajectory").json()["steps"] == []
    assert client.post(f"{IMAGES}/{image.id}/trajectory/1").status_code == 404


def test_a_step_is_decoded_by_a_job_and_is_its_picture_from_then_on(
    client: TestClient, image: Image, store: Store, settings: Settings
) -> None:
    url = f"{IMAGES}/{image.id}/trajectory/2"
    assert client.get(url).status_code == 404
    asked = client.post(url)
    assert (asked.status_code, asked.headers["location"]) == (202, asked.json()["links"]["self"])
    job = asked.json()
    assert (job["task"], job["params"]["step"], job["result"]) == ("decode", 2, None)
    assert client.post(url).json()["id"] == job["id"]
    picture = decode(store, settings)
    done = client.get(job["links"]["self"]).json()
    assert done["result"] == {
        "step": 2, "width": 128, "height": 128, "sha256": "d" * 64, "bytes": len(picture), "url": url,
    }  # fmt: skip
    for response in (client.post(url), client.get(url)):
        assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
        assert response.content == picture
    listed = client.get(f"{IMAGES}/{image.id}/trajectory").json()["steps"]
    assert [step["step"] for step in listed if step["decoded"]] == [2]


@pytest.mark.parametrize(("step", "status"), [("5", 404), ("0", 422), ("-1", 422), ("x", 422), ("99999", 422)])
def test_a_step_that_is_not_kept_is_not_decoded(client: TestClient, image: Image, step: str, status: int) -> None:
    assert client.post(f"{IMAGES}/{image.id}/trajectory/{step}").status_code == status


def test_a_verification_is_a_job_whose_result_is_the_answer(client: TestClient, image: Image, store: Store) -> None:
    asked = client.post(f"{IMAGES}/{image.id}/verify")
    assert asked.status_code == 202
    job = asked.json()
    assert (job["task"], job["params"]["image"], job["result"]) == ("verify", image.id, None)
    assert (job["params"]["recipe"]["seed"], job["params"]["recipe"]["num_images"]) == (image.seed, 1)
    claim = store.claim_next("worker-1", ["storybook"], fingerprint=HERE)
    assert claim is not None
    assert store.finish(claim, Answered(VERDICT, TIMINGS, "r1"))
    done = client.get(f"{job['links']['self']}?wait=5&until=done").json()
    assert (done["state"], done["result"], done["images"]) == ("succeeded", VERDICT, [])


def test_a_picture_that_was_not_to_be_reproducible_is_not_verified(
    client: TestClient, image: Image, publish: Publish
) -> None:
    refused = client.post(f"{IMAGES}/{publish().id}/verify")
    assert (refused.status_code, refused.json()["detail"]) == (409, "The picture was not made to be reproducible.")


def test_a_picture_is_not_verified_where_no_worker_lives_that_could(
    client: TestClient, image: Image, store: Store, entry: CatalogueEntry
) -> None:
    url = f"{IMAGES}/{image.id}/verify"
    store.worker_beat("worker-1", {"fingerprint": "another"})
    assert client.post(url).json()["detail"].startswith("No worker is running")
    store.worker_left("worker-1")
    assert client.post(url).status_code == 409
    store.register_model("worker-1", entry)
    store.worker_beat("worker-1", {"fingerprint": HERE})
    assert client.post(url).status_code == 202
    store.register_model("worker-1", entry.model_copy(update={"revision": "r2"}))
    assert client.post(url).json()["detail"].startswith("The model that made the picture has changed")


def test_nobody_asks_about_somebody_elses_picture(client: TestClient, app: FastAPI, image: Image) -> None:
    app.dependency_overrides[principal] = lambda: Principal("mallory", is_admin=False)
    here = f"{IMAGES}/{image.id}"
    answers = [client.get(f"{here}/trajectory"), client.get(f"{here}/trajectory/1")]
    answers += [client.post(f"{here}/trajectory/1"), client.post(f"{here}/verify")]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert client.get(f"{JOBS}?task=decode").json()["items"] == []


def test_an_admin_may_ask_and_the_job_is_the_admins(client: TestClient, app: FastAPI, image: Image) -> None:
    app.dependency_overrides[principal] = lambda: Principal("admin", is_admin=True)
    job = client.post(f"{IMAGES}/{image.id}/verify").json()
    app.dependency_overrides[principal] = lambda: Principal("local", is_admin=False)
    assert client.get(job["links"]["self"]).status_code == 404


def test_such_jobs_are_not_taken_from_a_body_and_not_listed_unasked(client: TestClient, image: Image) -> None:
    job = client.post(f"{IMAGES}/{image.id}/verify").json()
    for task in ("verify", "decode"):
        (fault,) = client.post(JOBS, json={"task": task, "image": image.id, "step": 1}).json()["errors"]
        assert fault["pointer"] == "#/task"
    assert [listed["task"] for listed in client.get(JOBS).json()["items"]] == ["text_to_image"]
    assert client.get(f"{JOBS}?task=verify").json()["items"] == [job]


def test_such_a_job_is_cancelled_tried_again_and_shown_like_any_other(client: TestClient, image: Image) -> None:
    job = client.post(f"{IMAGES}/{image.id}/trajectory/1").json()
    assert client.get(f"/jobs/{job['id']}").status_code == 200
    assert client.post(job["links"]["cancel"]).json()["state"] == "cancelled"
    again = client.post(f"{job['links']['self']}/retry").json()
    assert (again["task"], again["params"]) == ("decode", job["params"])


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (VERDICT, "The same picture again, pixel for pixel"),
        ({**VERDICT, "equal": False, "differing_pixels": 3}, "Not the same: 3 pixels of it came out differently"),
    ],
)
def test_a_verification_is_asked_for_and_told_on_the_pages(
    client: TestClient, image: Image, store: Store, verdict: dict[str, object], words: str
) -> None:
    assert f'action="/images/{image.id}/verify"' in client.get(f"/images/{image.id}").text
    where = client.post(f"/images/{image.id}/verify").headers["location"]
    claim = store.claim_next("worker-1", ["storybook"], fingerprint=HERE)
    assert claim is not None
    assert store.finish(claim, Answered(verdict, TIMINGS, "r1"))
    page = client.get(where).text
    assert words in page
    assert f'href="/images/{image.id}"' in page
