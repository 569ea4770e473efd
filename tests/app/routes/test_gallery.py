"""The gallery's pages without JavaScript: searched, starred, rated, tagged, thrown away and brought back by forms."""

import io
import re
import zipfile
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import Image, Job, Opinion, Store

HTMX = {"hx-request": "true", "accept": "text/html"}
FRAME = re.compile(r'<li class="frame[^"]*" id="frame-([0-9a-f]{32})">')

Print = Callable[..., Image]


@pytest.fixture
def made(submit: Callable[..., dict[str, Any]], develop: Callable[[], Job]) -> Print:
    """Makes a print of a recipe."""

    def make(**wish: object) -> Image:
        submit(**wish)
        return develop().images[0]

    return make


def shown(client: TestClient, where: str = "/images") -> list[str]:
    """The prints on a sheet, as they are shown."""
    return FRAME.findall(client.get(where).text)


def test_the_sheet_shows_what_is_searched_and_filtered(client: TestClient, store: Store, made: Print) -> None:
    fox, owl = made(prompt="a red fox", seed=42), made(prompt="a white owl", steps=30)
    store.gallery.judge(owl.id, "local", Opinion(favourite=True, rating=4, tags=("for print",)))
    assert shown(client) == [owl.id, fox.id]
    assert shown(client, "/images?q=fox+seed%3A42&favourite=&rating=&tag=") == [fox.id]
    assert shown(client, "/images?q=steps%3A%3E20") == [owl.id]
    assert shown(client, "/images?favourite=1&rating=%3E%3D4&tag=for+print") == [owl.id]
    assert shown(client, "/images?q=fox&favourite=1") == []
    page = client.get("/images?q=fox&rating=%3E%3D4").text
    assert 'value="fox"' in page
    assert "No print fits" in page
    assert '<option value="for print">for print (1)</option>' in page


def test_a_search_that_cannot_be_read_says_what_is_allowed(client: TestClient, made: Print) -> None:
    made()
    response = client.get("/images?q=colour%3Ared")
    assert response.status_code == 422
    assert "a field must be one of model:" in response.text
    assert 'value="colour:red"' in response.text
    assert 'aria-describedby="q-fault"' in response.text


def test_the_pages_of_a_search_stay_in_the_search(
    client: TestClient, made: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routes.gallery.PER_PAGE", 1)
    foxes = [made(prompt="a fox").id for _ in range(3)]
    made(prompt="an owl")
    page = client.get("/images?q=fox").text
    seen = FRAME.findall(page)
    while older := re.search(r'href="(/images\?[^"]+)" rel="next"', page):
        page = client.get(unescape(older[1]), headers=HTMX).text
        assert "<html" not in page
        seen += FRAME.findall(page)
    assert seen == foxes[::-1]


def test_a_star_is_given_and_taken_from_the_sheet(client: TestClient, store: Store, made: Print) -> None:
    image = made()
    where = f"/images/{image.id}/star?q=cat"
    assert f'formaction="{where}" name="favourite" value="true"' in client.get("/images?q=cat").text
    response = client.post(where, data={"favourite": "true"})
    assert response.status_code == 303
    assert response.headers["location"] == f"/images?q=cat#frame-{image.id}"
    assert store.image(image.id, "local").favourite
    frame = client.post(where, data={"favourite": "false"}, headers=HTMX).text
    assert FRAME.findall(frame) == [image.id]
    assert 'aria-pressed="false"' in frame
    assert not store.image(image.id, "local").favourite


def test_a_print_is_rated_and_tagged_on_its_page(client: TestClient, store: Store, made: Print) -> None:
    image = made()
    where = f"/images/{image.id}/opinion"
    for said in ({"rating": "4"}, {"tags": "For Print,  snow, snow"}, {"favourite": "true"}):
        assert client.post(where, data=said).headers["location"] == f"/images/{image.id}"
    now = store.image(image.id, "local")
    assert (now.favourite, now.rating, now.tags) == (True, 4, ("for print", "snow"))
    page = client.get(f"/images/{image.id}").text
    assert 'value="for print, snow"' in page
    assert 'href="/images?tag=for%20print"' in page
    assert page.count('data-rating="') == 5
    # Pressing the present rating takes it back.
    assert 'name="rating" value="0" data-rating="4"' in page


@pytest.mark.parametrize(
    "said", [{"rating": "6"}, {"rating": "many"}, {"tags": "<b>"}, {"tags": ",".join("abcdefghijklmnopqrstu")}]
)
def test_an_opinion_that_makes_no_sense_is_refused(
    client: TestClient, store: Store, made: Print, said: dict[str, str]
) -> None:
    image = made()
    assert client.post(f"/images/{image.id}/opinion", data=said).status_code == 422
    assert store.image(image.id, "local") == image


def test_marked_prints_are_deleted_and_the_deletion_undone(client: TestClient, made: Print) -> None:
    first, second, third = (made(prompt=f"a fox {number}").id for number in range(3))
    page = client.post("/images/delete?q=fox", data={"ids": [first, third]}).text
    assert FRAME.findall(page) == [second]
    assert "2 prints deleted" in page
    undo = re.search(r'<form id="done"[^>]*action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    assert undo
    ids = re.findall(r'name="ids" value="([0-9a-f]{32})"', undo[2])
    response = client.post(unescape(undo[1]), data={"ids": ids})
    assert (response.status_code, response.headers["location"]) == (303, "/images?q=fox")
    assert shown(client) == [third, second, first]


def test_htmx_hears_which_frames_are_gone(client: TestClient, made: Print) -> None:
    image = made()
    part = client.post("/images/delete", data={"ids": [image.id, "0" * 32]}, headers=HTMX).text
    assert part.lstrip().startswith('<form id="done"')
    assert re.findall(r'<li id="frame-([0-9a-f]{32})" hx-swap-oob="delete">', part) == [image.id]
    assert "1 print deleted" in part


def test_the_bin_shows_what_can_be_brought_back(client: TestClient, made: Print) -> None:
    assert "The bin is empty" in client.get("/images?deleted=1").text
    image = made()
    client.post("/images/delete", data={"ids": [image.id]})
    page = client.get("/images?deleted=1").text
    assert FRAME.findall(page) == [image.id]
    assert 'action="/images/restore?deleted=1"' in page
    assert "/content" not in page


def test_marked_prints_are_tagged(client: TestClient, store: Store, made: Print) -> None:
    ids = [made().id for _ in range(2)]
    response = client.post("/images/tag", data={"ids": ids, "tags": "snow, night"})
    assert response.status_code == 303
    assert {store.image(id, "local").tags for id in ids} == {("night", "snow")}


def test_marked_prints_come_in_one_file(client: TestClient, made: Print) -> None:
    images = [made(seed=seed) for seed in (5, 6)]
    response = client.post("/images/zip", data={"ids": [image.id for image in images]})
    assert response.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(response.content)) as parcel:
        assert sorted(info.file_size for info in parcel.infolist()) == sorted(image.size_bytes for image in images)


@pytest.mark.parametrize("verb", ["delete", "restore", "tag", "zip"])
@pytest.mark.parametrize("ids", [[], ["../etc"], ["0" * 32, "1" * 31]])
def test_nothing_marked_is_said_in_plain_words(client: TestClient, verb: str, ids: list[str]) -> None:
    response = client.post(f"/images/{verb}", data={"ids": ids, "tags": "x"}, headers={"accept": "text/html"})
    assert response.status_code == 422
    assert "<html" in response.text


def test_somebody_elses_prints_are_left_alone(client: TestClient, store: Store, made: Print) -> None:
    image = made()
    # What the pages do, they do as whoever asks.
    assert store.gallery.delete([image.id], "somebody") == frozenset()
    assert client.post(f"/images/{'0' * 32}/star", data={"favourite": "true"}).status_code == 404


def test_a_print_can_be_varied_where_its_model_can(
    client: TestClient, store: Store, entry: CatalogueEntry, made: Print
) -> None:
    image = made(prompt="a fox", steps=7, seed=3)
    store.register_model("worker-1", entry.model_copy(update={"tasks": ["text_to_image"]}))
    assert "/vary" not in client.get(f"/images/{image.id}").text
    store.register_model("worker-1", entry.model_copy(update={"tasks": ["text_to_image", "image_to_image", "inpaint"]}))
    page = client.get(f"/images/{image.id}").text
    assert f'href="/edit?image={image.id}"' in page
    assert "/upscale?" not in page
    response = client.post(f"/images/{image.id}/vary")
    job = store.get(response.headers["location"].removeprefix("/jobs/"), "local")
    assert (job.task, job.params.prompt, job.params.steps) == ("image_to_image", "a fox", 7)
    assert "image" in job.params.inputs
