"""The pages without JavaScript: forms that lead somewhere, words that help, and nothing a prompt could inject."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.store import Claim, Failed, Job, Store
from app.main import create_app

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
HTMX = {"hx-request": "true", "accept": "text/html"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"

Submit = Callable[..., dict[str, Any]]


def develop_by_form(client: TestClient, **fields: str) -> str:
    """Send the form as a browser without JavaScript does; the page it leads to."""
    response = client.post("/", data={"prompt": "a red cat", **fields}, headers=BROWSER)
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


def test_the_form_leads_to_the_page_of_its_job(client: TestClient, store: Store) -> None:
    where = develop_by_form(client, steps="4", size="192x128", num_images="2")
    (job,) = store.jobs("local").items
    assert where == f"/jobs/{job.id}"
    assert (job.params.prompt, job.params.steps, job.params.width, job.params.num_images) == ("a red cat", 4, 192, 2)
    assert (job.params.sampler, job.params.guidance_scale) == ("ddim", 5.0)


def test_a_jobs_page_loads_itself_again_until_the_job_has_ended(client: TestClient, develop: Callable[[], Job]) -> None:
    where = develop_by_form(client)
    refresh = re.compile(r'<noscript>\s*<meta http-equiv="refresh"')
    waiting = client.get(where, headers=BROWSER).text
    assert refresh.search(waiting)
    assert "Next in line" in waiting
    image = develop().images[0]
    done = client.get(where, headers=BROWSER).text
    assert not refresh.search(done)
    assert f'href="/images/{image.id}"' in done
    assert "hx-sse:connect" not in done


def test_what_is_wrong_stands_in_the_form_with_what_was_typed(client: TestClient, store: Store) -> None:
    response = client.post("/", data={"prompt": "a red cat", "steps": "5000"}, headers=BROWSER)
    assert response.status_code == 422
    assert "This must be at most 1000." in response.text
    assert 'value="5000"' in response.text
    assert ">a red cat</textarea>" in response.text
    assert "<details open>" in response.text
    assert store.jobs("local").items == ()


def test_htmx_gets_the_card_of_the_job(client: TestClient) -> None:
    response = client.post("/", data={"prompt": "a red cat"}, headers=HTMX)
    assert response.status_code == 200
    assert response.text.lstrip().startswith("<article")
    assert re.search(r'hx-sse:connect="/api/v1/jobs/[0-9a-f]{32}/events"', response.text)


def test_htmx_gets_the_form_when_something_is_wrong_with_it(client: TestClient) -> None:
    response = client.post("/", data={"prompt": "a red cat", "seed": "-1"}, headers=HTMX)
    assert response.status_code == 422
    assert response.headers["hx-retarget"] == "#wish"
    assert response.text.lstrip().startswith("<form")


def test_the_first_page_offers_examples_and_is_filled_from_its_query(client: TestClient) -> None:
    page = client.get("/?prompt=two+owls&seed=7&junk=1", headers=BROWSER).text
    assert ">two owls</textarea>" in page
    assert 'data-prompt="a red cat beside a house"' in page
    assert 'value="7"' in page
    assert "junk" not in page


def test_the_first_page_says_what_the_model_was_taught(client: TestClient, store: Store, entry: CatalogueEntry) -> None:
    page = client.get("/", headers=BROWSER).text
    assert "What storybook knows" in page
    assert "<dt>objects</dt><dd>cat, house</dd>" in page
    store.register_model("worker-1", entry.model_copy(update={"vocabulary": None}))
    assert "What storybook knows" not in client.get("/", headers=BROWSER).text


def test_the_first_page_shows_jobs_on_their_way_after_a_reload(client: TestClient, submit: Submit) -> None:
    job = submit(prompt="a walking fish")
    assert f'id="job-{job["id"]}"' in client.get("/").text


def test_a_job_without_a_worker_says_why_it_waits(client: TestClient, store: Store, submit: Submit) -> None:
    job = submit()
    assert "No worker runs" not in client.get(f"/jobs/{job['id']}").text
    store.worker_left("worker-1")
    assert "No worker runs" in client.get(f"/jobs/{job['id']}").text


def test_only_cards_of_jobs_that_run_or_are_next_hold_a_connection(
    client: TestClient, submit: Submit, claim: Callable[[], Claim]
) -> None:
    jobs = [submit()["id"] for _ in range(9)]
    claim()
    page = client.get("/").text
    streamed = re.findall(r'hx-sse:connect="/api/v1/jobs/([0-9a-f]{32})/events"', page)
    polled = re.findall(r'hx-get="/jobs/([0-9a-f]{32})/card" hx-trigger="every', page)
    assert set(streamed) == set(jobs[:2])
    assert set(polled) == set(jobs[2:])


def test_a_failed_job_says_why_and_can_be_tried_again(
    client: TestClient, store: Store, submit: Submit, claim: Callable[[], Claim]
) -> None:
    job = submit()
    store.finish(claim(), Failed("nan", "The model produced numbers that are no picture."))
    assert "numbers that are no picture" in client.get(f"/jobs/{job['id']}").text
    response = client.post(f"/jobs/{job['id']}/retry")
    assert response.status_code == 303
    assert response.headers["location"] != f"/jobs/{job['id']}"


def test_a_job_can_be_cancelled_from_its_page(client: TestClient, store: Store, submit: Submit) -> None:
    job = submit()
    response = client.post(f"/jobs/{job['id']}/cancel")
    assert (response.status_code, response.headers["location"]) == (303, f"/jobs/{job['id']}")
    assert store.get(job["id"], "local").state == "cancelled"
    assert "Cancelled" in client.get(f"/jobs/{job['id']}").text


def test_a_cancel_that_comes_too_late_shows_the_print(
    client: TestClient, submit: Submit, develop: Callable[[], Job]
) -> None:
    job = submit()
    develop()
    response = client.post(f"/jobs/{job['id']}/cancel", headers=HTMX)
    assert response.status_code == 200
    assert 'data-state="succeeded"' in response.text


def test_the_contact_sheet_tells_where_to_begin(client: TestClient) -> None:
    page = client.get("/images").text
    assert "No prints yet" in page
    assert 'href="/"' in page


def test_the_contact_sheet_has_pages(
    client: TestClient, submit: Submit, develop: Callable[[], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routes.gallery.PER_PAGE", 2)
    made = []
    for _ in range(3):
        submit()
        made.append(develop().images[0].id)
    first = client.get("/images").text
    older = re.search(r'href="(/images\?cursor=[^"]+)" rel="next"', first)
    assert older
    second = client.get(unescape(older[1])).text
    frame = re.compile(r'id="frame-([0-9a-f]{32})"')
    assert frame.findall(first) + frame.findall(second) == made[::-1]
    assert 'rel="next"' not in second


def test_a_print_shows_its_recipe_and_can_be_had_again_with_another_seed(
    client: TestClient, store: Store, submit: Submit, develop: Callable[[], Job]
) -> None:
    submit(prompt="a blue fox", seed=5, num_images=2)
    image = develop().images[1]
    page = client.get(f"/images/{image.id}").text
    assert "<dd>6</dd>" in page
    assert f'href="/api/v1/images/{image.id}/content" download="darkroom-6.png"' in page
    response = client.post(f"/images/{image.id}/again")
    job = store.get(response.headers["location"].removeprefix("/jobs/"), "local")
    assert response.status_code == 303
    assert job.params.model_copy(update={"seed": 5, "num_images": 2}) == image.params
    assert job.params.seed != image.params.seed


def test_pictures_have_their_sides_so_that_nothing_moves_when_they_come(
    client: TestClient, submit: Submit, develop: Callable[[], Job]
) -> None:
    submit(width=192)
    image = develop().images[0]
    for path in ("/", "/images", f"/images/{image.id}", f"/jobs/{image.job_id}"):
        pictures = re.findall(r"<img [^>]*>", client.get(path).text)
        assert pictures
        assert all(re.search(r'width="\d+" height="\d+"', picture) for picture in pictures)


@pytest.mark.parametrize("accept", [BROWSER, HTMX])
def test_what_is_not_there_is_said_on_a_page(client: TestClient, accept: dict[str, str]) -> None:
    response = client.get("/images/" + "0" * 32, headers=accept)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert ("<html" in response.text) == (accept is BROWSER)
    assert response.headers.get("hx-retarget") == (None if accept is BROWSER else "#notice")


def test_while_no_model_is_known_the_first_page_waits_for_one(bare_client: TestClient) -> None:
    response = bare_client.get("/", headers=BROWSER)
    assert response.status_code == 503
    assert response.headers["refresh"] == response.headers["retry-after"]
    assert "warming up" in response.text


def test_a_database_that_is_away_is_said_on_a_page(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    with TestClient(create_app(away), base_url="http://localhost") as client:
        response = client.get("/images", headers=BROWSER)
    assert response.status_code == 503
    assert "The database does not answer" in response.text


def test_a_defect_is_said_on_a_page(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "images", lambda *_: 1 / 0)
    response = client.get("/", headers=BROWSER)
    assert response.status_code == 500
    assert "<html" in response.text
    assert "division" not in response.text


@pytest.mark.parametrize("headers", [BROWSER, HTMX])
def test_a_prompt_cannot_inject_anything(
    client: TestClient, store: Store, entry: CatalogueEntry, develop: Callable[[], Job], headers: dict[str, str]
) -> None:
    hostile = entry.model_copy(update={"examples": [HOSTILE], "vocabulary": {HOSTILE: [HOSTILE]}})
    store.register_model("worker-1", hostile)
    client.post("/", data={"prompt": HOSTILE, "negative_prompt": HOSTILE}, headers=headers)
    pages = [client.get("/", params={"prompt": HOSTILE, "sampler": HOSTILE}, headers=headers)]
    pages.append(client.post("/", data={"prompt": HOSTILE, "steps": HOSTILE, "format": HOSTILE}, headers=headers))
    image = develop().images[0]
    pages += [client.get(path, headers=headers) for path in ("/images", f"/images/{image.id}", f"/jobs/{image.job_id}")]
    for page in pages:
        assert "alert(1)" in unescape(page.text)
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert not re.search(r"=\s*[\"']?[^\"'<>]*[\"']\s+onerror=", page.text)


@pytest.mark.parametrize("path", ["/", "/images"])
def test_a_page_can_be_asked_for_its_headers_alone(client: TestClient, path: str) -> None:
    response = client.head(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", "/images", "/nowhere"])
def test_no_page_has_script_or_style_in_it(client: TestClient, path: str) -> None:
    page = client.get(path, headers=BROWSER).text
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", page)


def test_a_form_with_files_is_refused(client: TestClient) -> None:
    response = client.post("/", files={"prompt": b"a cat"})
    assert response.status_code == 415


def test_a_static_file_asked_for_by_its_version_is_kept_for_ever(client: TestClient) -> None:
    page = client.get("/").text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert "immutable" in client.get(path).headers["cache-control"]
    assert client.get("/static/live.js").headers["cache-control"] == "no-cache"


def test_another_model_brings_a_form_of_its_own(client: TestClient, store: Store, entry: CatalogueEntry) -> None:
    other = entry.model_copy(update={"name": "atlas", "native_width": 512, "native_height": 512, "max_side": 512})
    store.register_model("worker-1", other)
    part = client.get("/?model=atlas&prompt=a+map", headers=HTMX).text
    assert part.lstrip().startswith("<form")
    assert '<option value="512x512"' in part
    assert '<option value="atlas" selected>' in part
    assert ">a map</textarea>" in part
    assert '<option value="128x128"' in client.get("/?model=nobody", headers=BROWSER).text


def test_the_form_says_when_its_picture_would_be_ready(
    client: TestClient, submit: Submit, develop: Callable[[], Job]
) -> None:
    page = client.get("/", headers=BROWSER).text
    assert re.search(r'<p id="quote"[^>]*hx-post="/quote"', page)
    # Nobody knows how fast the model is before it has made anything.
    assert client.post("/quote", data={"prompt": ""}, headers=HTMX).text.strip() == ""
    submit()
    develop()
    words = client.post("/quote", data={"prompt": "", "num_images": "16"}, headers=HTMX).text
    assert re.search(r"Ready in (a|\d+) \w+, nine times of ten within (a|\d+) \w+", words)
    assert client.post("/quote", data={"steps": "5000"}, headers=HTMX).text.strip() == ""
