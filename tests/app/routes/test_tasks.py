"""The four tasks over HTTP: what is asked of them, what is refused, and that a job has its pictures from then on."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.deps import principal
from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.spec import MAX_DATA_BYTES, TASKS
from app.jobs.storage import open_storage
from app.jobs.store import Claim, Job, Principal, Store
from app.routes.jobs import EXAMPLES
from tests.app.pictures import data_uri, mask, photo

JOBS = "/api/v1/jobs"
LOSSY = {"consistent": True, "format": "webp"}


@pytest.fixture
def entry(entry: CatalogueEntry) -> CatalogueEntry:
    """A model that does it all."""
    return entry.model_copy(update={"tasks": list(TASKS), "scale": 4})


@pytest.fixture
def upload(client: TestClient) -> Callable[[bytes], dict[str, Any]]:
    """Uploads a file; returns what was told of it."""

    def send(data: bytes) -> dict[str, Any]:
        response = client.post("/api/v1/uploads", content=data, headers={"content-type": "image/png"})
        assert response.status_code == 201, response.text
        return dict(response.json())

    return send


Upload = Callable[[bytes], dict[str, Any]]


def wish(task: str, **fields: Any) -> dict[str, Any]:
    pictures = {"image": data_uri(photo())} | ({"mask": data_uri(mask())} if task == "inpaint" else {})
    return {"task": task, "prompt": "a cat", **({} if task == "text_to_image" else pictures), **fields}


def faults(client: TestClient, body: Any) -> dict[str, str]:
    """What is wrong with the body, by pointer."""
    response = client.post(JOBS, json=body)
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["detail"] for fault in response.json()["errors"]}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_accepted_and_told_completely(client: TestClient, settings: Settings, task: str) -> None:
    response = client.post(JOBS, json=wish(task))
    assert response.status_code == 202, response.text
    job = response.json()
    assert job["task"] == job["params"]["task"] == task
    # Nobody makes it larger.
    unknown = ["upscaler", "model_revision"] if task == "text_to_image" else ["model_revision"]
    assert sorted(name for name, value in job["params"].items() if value is None) == sorted(unknown)
    assert "base64" not in response.text
    assert client.get(job["links"]["self"]).json() == job
    assert client.get(f"{JOBS}?task={task}").json()["items"] == [job]


def test_a_job_is_made_from_an_upload_a_data_uri_or_a_picture_of_its_owner(
    client: TestClient, upload: Upload, submit: Callable[..., Any], develop: Callable[[], Job], store: Store
) -> None:
    sent = upload(photo())
    submit(width=96, height=64)
    image = develop().images[0]
    named = [f"upload:{sent['id']}", data_uri(photo()), f"image:{image.id}"]
    jobs = [client.post(JOBS, json=wish("image_to_image", image=name)).json() for name in named]
    assert [job["params"]["image"] for job in jobs[:2]] == [f"sha256:{sent['sha256']}"] * 2
    assert jobs[2]["params"]["image"] != jobs[0]["params"]["image"]
    assert {(job["params"]["width"], job["params"]["height"]) for job in jobs} == {(96, 64)}


def test_a_claim_has_the_pictures_of_its_job(
    client: TestClient, settings: Settings, claim: Callable[[], Claim]
) -> None:
    client.post(JOBS, json=wish("inpaint"))
    storage = open_storage(settings.resolved_storage_url)
    pictures = {role: storage.get(key)[:8] for role, key in claim().inputs.items()}
    assert pictures == dict.fromkeys(("image", "mask"), b"\x89PNG\r\n\x1a\n")


def test_a_retry_is_made_from_the_same_pictures(client: TestClient, claim: Callable[[], Claim]) -> None:
    first = client.post(JOBS, json=wish("inpaint")).json()
    again = client.post(f"{JOBS}/{first['id']}/retry")
    assert again.status_code == 202
    assert again.json()["params"] == first["params"]
    assert claim().inputs == claim().inputs != {}


def test_nobody_makes_anything_from_somebody_elses_pictures(
    client: TestClient, app: FastAPI, upload: Upload, submit: Callable[..., Any], develop: Callable[[], Job]
) -> None:
    sent = upload(photo())
    submit()
    image = develop().images[0]

    app.dependency_overrides[principal] = lambda: Principal("mallory", is_admin=False)
    for reference, kind in ((f"upload:{sent['id']}", "upload"), (f"image:{image.id}", "image")):
        found = faults(client, wish("inpaint", mask=reference))
        assert found["#/mask"].startswith(f"must name an {kind} of yours")
    assert client.get(JOBS).json()["items"] == []


@pytest.mark.parametrize("reference", ["upload:" + "0" * 32, "image:" + "0" * 32])
@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_picture_that_is_not_there_is_refused_by_its_field(client: TestClient, field: str, reference: str) -> None:
    assert list(faults(client, wish("inpaint", **{field: reference}))) == [f"#/{field}"]


@pytest.mark.parametrize(
    ("uri", "detail"),
    [
        ("data:image/png;base64,!!!!", "must be a data URI in base64"),
        ("data:image/png;base64,", "must be a whole PNG, JPEG or WebP file"),
        ("data:image/png;base64,AAAA", "must be a whole PNG, JPEG or WebP file"),
        (data_uri(photo(4097, 1)), "must be a picture of at most 4096 x 4096 pixels"),
    ],
)
def test_a_data_uri_that_is_no_picture_is_refused_by_its_field(client: TestClient, uri: str, detail: str) -> None:
    assert faults(client, wish("super_resolution", image=uri)) == {"#/image": detail}


def test_a_body_with_two_pictures_of_the_largest_size_is_read(client: TestClient) -> None:
    filled = photo() + bytes(MAX_DATA_BYTES - len(photo()))
    marked = mask() + bytes(MAX_DATA_BYTES - len(mask()))
    body = wish("inpaint", image=data_uri(filled), mask=data_uri(marked), prompt="\U0001f98a" * 2000)
    assert client.post(JOBS, json=body).status_code == 202


@pytest.mark.parametrize(
    ("task", "fields", "pointer", "detail"),
    [
        ("inpaint", {"steps": 0}, "#/steps", "must be at least 1"),
        ("inpaint", {"strength": 0}, "#/strength", "must be greater than 0"),
        ("inpaint", {"feather": 65}, "#/feather", "must be at most 64"),
        ("inpaint", {"mask": data_uri(mask(64, 64))}, "#/mask", "must be as large as the image, 96 x 64 pixels"),
        ("inpaint", {"mask_mode": "transparent"}, "#/mask", "must have at least one pixel that is transparent"),
        ("image_to_image", {"width": 100}, "#/width", "must be a multiple of 8 from 64 to 256"),
        ("image_to_image", {"fit": "stretch"}, "#/fit", "must be 'cover' or 'contain'"),
        ("image_to_image", {"image": 5}, "#/image", "must be text that is valid Unicode"),
        ("super_resolution", {"scale": 3}, "#/scale", "must be 2 or 4"),
        ("super_resolution", LOSSY, "#/consistent", "must be false unless format is png"),
        ("text_to_image", {"guidance_interval": [0, 2]}, "#/guidance_interval/1", "must be at most 1"),
        ("text_to_image", {"guidance_interval": [1]}, "#/guidance_interval/1", "is required"),
        ("text_to_image", {"guidance_interval": [1, 0]}, "#/guidance_interval", "must be [from, to] with from <= to"),
        ("text_to_image", {"guidance_interval": 1}, "#/guidance_interval", "must be a list of two numbers"),
        ("text_to_image", {"prompt_syntax": "x"}, "#/prompt_syntax", "must be 'plain' or 'weighted'"),
    ],
)
def test_a_fault_says_where_it_is_and_what_is_allowed(
    client: TestClient, task: str, fields: dict[str, Any], pointer: str, detail: str
) -> None:
    assert faults(client, wish(task, **fields)) == {pointer: detail}


def test_a_field_of_another_task_is_unknown_and_those_of_this_one_are_named(client: TestClient) -> None:
    (detail,) = faults(client, wish("text_to_image", mask=data_uri(mask()))).values()
    known = detail.removeprefix("is not known here; known are ").split(", ")
    assert {"prompt", "width", "priority"} <= set(known)
    assert "mask" not in known
    assert "strength" in faults(client, wish("image_to_image", stength=1))["#/stength"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"prompt": "a cat"}, {"#/task": "is required"}),
        (
            {"task": "dream", "prompt": "a cat"},
            {"#/task": "must be one of 'text_to_image', 'image_to_image', 'inpaint', 'super_resolution'"},
        ),
        ([], {"#": "must be an object"}),
        ("x", {"#": "must be an object"}),
    ],
)
def test_a_body_of_no_task_is_told_which_there_are(client: TestClient, body: Any, found: dict[str, str]) -> None:
    assert faults(client, body) == found


def test_a_task_goes_to_the_model_that_offers_it(
    client: TestClient, store: Store, entry: CatalogueEntry
) -> None:
    store.register_model("worker-1", entry.model_copy(update={"tasks": ["text_to_image"]}))
    enlarger = entry.model_copy(update={"name": "storybook-x4", "tasks": ["super_resolution"]})
    store.register_model("worker-1", enlarger)
    assert client.post(JOBS, json=wish("super_resolution")).json()["params"]["model"] == "storybook-x4"
    assert client.post(JOBS, json=wish("text_to_image")).json()["params"]["model"] == "storybook"
    named = faults(client, wish("super_resolution", model="storybook"))
    assert named == {"#/model": "must be one that offers super_resolution: storybook-x4"}
    assert faults(client, wish("inpaint")) == {
        "#/task": "must be one that a model here offers: text_to_image, super_resolution"
    }
    assert faults(client, wish("inpaint", model="storybook")) == {
        "#/model": "must be one that offers inpaint: none does"
    }
    # Whoever writes a prompt is offered no model that draws nothing.
    offered = re.findall(r"<option[^>]*>([^<]*)", client.get("/").text)
    assert "storybook-x4" not in [name.strip() for name in offered]


@pytest.mark.parametrize(
    ("fields", "warned"), [({}, True), ({"width": 256}, False), ({"image": data_uri(photo(256, 250))}, False)]
)
def test_a_result_that_is_smaller_than_its_picture_is_told_where_nobody_asked_for_it(
    client: TestClient, fields: dict[str, Any], warned: bool
) -> None:
    job = client.post(JOBS, json=wish("image_to_image", **{"image": data_uri(photo(512, 100)), **fields})).json()
    told = "The picture is 512 x 100 pixels; the result is 256 x 50, the largest that storybook makes of it."
    assert job["warnings"] == ([told] if warned else [])


def test_words_that_only_describe_a_picture_need_not_be_known(client: TestClient) -> None:
    for task, warnings in (("image_to_image", 1), ("super_resolution", 0)):
        assert len(client.post(JOBS, json=wish(task, prompt="zzz")).json()["warnings"]) == warnings


def test_a_low_priority_is_recorded(client: TestClient) -> None:
    assert client.post(JOBS, json=wish("text_to_image", priority="low")).json()["params"]["priority"] == "low"


def test_progress_counts_the_steps_that_run(client: TestClient) -> None:
    job = client.post(JOBS, json=wish("image_to_image", steps=10, strength=0.35, num_images=2)).json()
    assert job["progress"] == {"step": 0, "steps": 6}


def test_a_refused_job_leaves_nothing_pinned(client: TestClient, store: Store) -> None:
    faults(client, wish("super_resolution", scale=3))
    assert store.queue_length() == 0


def test_the_pages_show_jobs_of_every_task(client: TestClient, develop: Callable[[], Job]) -> None:
    for task in TASKS:
        job = client.post(JOBS, json=wish(task)).json()
        assert client.get(f"/jobs/{job['id']}").status_code == 200
        image = develop().images[0]
        page = client.get(f"/images/{image.id}")
        assert page.status_code == 200
        assert (task.replace("_", " ") in page.text) == (task != "text_to_image")


def test_a_picture_without_words_has_a_name_on_its_pages(client: TestClient, develop: Callable[[], Job]) -> None:
    job = client.post(JOBS, json=wish("super_resolution", prompt="")).json()
    assert f'<a href="/jobs/{job["id"]}">super resolution</a>' in client.get(f"/jobs/{job['id']}").text
    page = client.get(f"/images/{develop().images[0].id}").text
    assert "<h1>super resolution</h1>" in page
    assert "<title>super resolution" in page


def test_the_description_of_the_api_has_the_four_bodies_with_examples_that_are_right(
    client: TestClient, upload: Upload
) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"][JOBS]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["schema"]["discriminator"]["mapping"]) == set(TASKS)
    assert set(body["examples"]) == set(TASKS) == set(EXAMPLES)
    ids = {"upload": upload(photo())["id"], "mask": upload(mask())["id"]}
    for example in body["examples"].values():
        # as they stand, but for the ids
        value = {**example["value"]}
        for field, kind in (("image", "upload"), ("mask", "mask")):
            if field in value:
                value[field] = f"upload:{ids[kind]}"
        assert client.post(JOBS, json=value).status_code == 202, json.dumps(value)
    upload_body = document["paths"]["/api/v1/uploads"]["post"]["requestBody"]["content"]
    assert {"image/png", "image/jpeg", "image/webp", "multipart/form-data"} <= set(upload_body)
