"""Retouching without JavaScript: a picture is chosen, a mask comes as a file, and what is wrong is said in words."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import InpaintParams
from app.jobs.store import Job, Store
from tests.app.pictures import data_uri, mask, photo

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
HTMX = {"hx-request": "true", "accept": "text/html"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

Files = dict[str, tuple[str, bytes, str]]


def file(data: bytes, name: str = "mask.png") -> tuple[str, bytes, str]:
    return name, data, "image/png"


@pytest.fixture
def entry(entry: CatalogueEntry) -> CatalogueEntry:
    """A model that repaints."""
    return entry.model_copy(update={"tasks": ["text_to_image", "inpaint"]})


@pytest.fixture
def easel(client: TestClient) -> str:
    """The page with an upload on it."""
    response = client.post("/edit/picture", files={"picture": file(photo())})
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


@pytest.fixture
def reference(easel: str) -> str:
    """How a wish names that upload."""
    return easel.removeprefix("/edit?").replace("=", ":")


def test_a_picture_from_outside_comes_onto_the_easel(client: TestClient, easel: str) -> None:
    page = client.get(easel, headers=BROWSER).text
    assert '<mask-editor name="drawn" width="96" height="64">' in page
    source = re.search(r'<img src="(/uploads/[0-9a-f]{32})" width="560"\s+height="373"', page)
    assert source
    shown = client.get(source[1])
    assert shown.headers["content-type"] == "image/png"
    assert shown.content.startswith(b"\x89PNG")


def test_an_upload_is_shown_to_its_owner_alone(client: TestClient, store: Store, easel: str) -> None:
    key = store.keys.create("somebody").token
    others = {"authorization": f"Bearer {key}"}
    id = easel.removeprefix("/edit?upload=")
    assert client.get(f"/uploads/{id}", headers=others).status_code == 404
    assert client.get(easel, headers=others).status_code == 404


@pytest.mark.parametrize("sent", [{}, {"picture": file(b"no picture at all")}])
def test_what_is_no_picture_is_said_beside_the_choice(client: TestClient, sent: Files) -> None:
    response = client.post("/edit/picture", files=sent or {"other": file(b"")}, headers=BROWSER)
    assert response.status_code == 422
    assert re.search(r'role="alert">The picture must be [^<]+\.<', response.text)


def test_a_print_comes_onto_the_easel_with_its_words(
    client: TestClient, submit: Callable[..., Any], develop: Callable[[], Job]
) -> None:
    submit(prompt="a blue fox")
    image = develop().images[0]
    assert f'href="/edit?image={image.id}"' in client.get("/edit", headers=BROWSER).text
    page = client.get(f"/edit?image={image.id}", headers=BROWSER).text
    assert ">a blue fox</textarea>" in page
    assert f'src="/api/v1/images/{image.id}/content"' in page
    assert ">a red fox</textarea>" in client.get(f"/edit?image={image.id}&prompt=a+red+fox", headers=BROWSER).text


def test_a_mask_from_a_file_leads_to_a_job(client: TestClient, store: Store, reference: str) -> None:
    response = client.post(
        "/edit",
        data={"image": reference, "prompt": "a red cat", "strength": "0.5", "feather": "3", "mask_mode": "black"},
        files={"mask": file(mask())},
        headers=BROWSER,
    )
    (job,) = store.jobs("local").items
    assert (response.status_code, response.headers["location"]) == (303, f"/jobs/{job.id}")
    assert isinstance(job.params, InpaintParams)
    assert (job.params.strength, job.params.feather, job.params.mask_mode) == (0.5, 3, "black")
    given = client.get(f"/jobs/{job.id}/given/mask")
    assert given.headers["content-type"] == "image/png"
    assert client.get(f"/jobs/{job.id}/given/image").content != given.content
    assert client.get(f"/jobs/{'0' * 32}/given/mask").status_code == 404


def test_what_was_drawn_is_a_mask_too(client: TestClient, store: Store, reference: str) -> None:
    fields = {"image": reference, "prompt": "a red cat", "drawn": data_uri(mask())}
    response = client.post("/edit", data=fields, files={"mask": ("", b"", "")}, headers=HTMX)
    assert response.status_code == 200, response.text
    assert response.text.lstrip().startswith("<article")
    (job,) = store.jobs("local").items
    assert set(job.params.inputs) == {"image", "mask"}


@pytest.mark.parametrize(
    ("fields", "files", "said"),
    [
        ({}, {}, "The mask must mark a part of the picture: paint over what should change"),
        ({"drawn": data_uri(mask(16, 16))}, {}, "must be as large as the image, 96 x 64 pixels"),
        (
            {"drawn": data_uri(mask(box=(0, 0, 95, 63))), "strength": "2"},
            {},
            "must be less than or equal to 1|at most 1",
        ),
        ({}, {"mask": file(b"no picture")}, "must be a whole PNG, JPEG or WebP file"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_painted_stays(
    client: TestClient, store: Store, reference: str, fields: dict[str, str], files: Files, said: str
) -> None:
    sent = {"image": reference, "prompt": "a red cat", **fields}
    whole = client.post("/edit", data=sent, files=files, headers=BROWSER)
    part = client.post("/edit", data=sent, files=files, headers=HTMX)
    assert (whole.status_code, part.status_code) == (422, 422)
    assert "<mask-editor" in whole.text
    assert "<mask-editor" not in part.text, "the editor must stay on the page as it is"
    assert part.headers["hx-retarget"] == "#brief"
    for page in (whole.text, part.text):
        assert re.search(said, page)
        assert ">a red cat</textarea>" in page
    assert store.jobs("local").items == ()


def test_a_picture_that_is_gone_is_said_on_a_page(client: TestClient) -> None:
    assert client.get(f"/edit?upload={'0' * 32}", headers=BROWSER).status_code == 404
    assert client.get("/edit?image=nonsense", headers=BROWSER).status_code == 404
    gone = {"image": f"upload:{'0' * 32}", "prompt": "a cat", "drawn": data_uri(mask())}
    assert client.post("/edit", data=gone, headers=BROWSER).status_code == 404


def test_where_no_model_repaints_it_is_said(client: TestClient, store: Store, entry: CatalogueEntry) -> None:
    store.register_model("worker-1", entry.model_copy(update={"tasks": ["text_to_image"]}))
    page = client.get("/edit", headers=BROWSER)
    assert page.status_code == 200
    assert "No model here can repaint" in page.text


def test_words_that_come_with_a_picture_cannot_inject_anything(client: TestClient, easel: str, reference: str) -> None:
    pages = [client.get(f"{easel}&prompt={quote(HOSTILE)}", headers=BROWSER)]
    sent = {"image": reference, "prompt": HOSTILE, "steps": HOSTILE, "drawn": data_uri(mask())}
    pages.append(client.post("/edit", data=sent, headers=BROWSER))
    for page in pages:
        assert "alert(1)" in page.text
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


def test_no_page_has_script_or_style_in_it(client: TestClient, easel: str) -> None:
    for path in ("/edit", easel):
        page = client.get(path, headers=BROWSER).text
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", page)
