"""The queue as a page: where every job stands, and what can be done about it without leaving."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.store import Claim, Failed, Job, Store

Submit = Callable[..., dict[str, Any]]

ROW = re.compile(r'<li id="row-([0-9a-f]{32})" data-state="(\w+)">')


def test_the_queue_tells_where_to_begin(client: TestClient) -> None:
    page = client.get("/jobs").text
    assert "Nothing was asked for yet" in page
    assert 'href="/" role="button"' in page


def test_the_queue_shows_how_every_job_stands(
    client: TestClient, store: Store, submit: Submit, claim: Callable[[], Claim], develop: Callable[[], Job]
) -> None:
    done, failed, runs, first, second = (submit(prompt=f"a fox {number}")["id"] for number in range(5))
    image = develop().images[0]
    store.finish(claim(), Failed("nan", "The model produced numbers that are no picture."))
    claim()
    page = client.get("/jobs").text
    assert ROW.findall(page) == [
        (second, "queued"),
        (first, "queued"),
        (runs, "running"),
        (failed, "failed"),
        (done, "succeeded"),
    ]
    for words in ("Next in line", "1 job before it", "Developing, step 0 of 4", "numbers that are no picture"):
        assert words in page
    assert f"/api/v1/images/{image.id}/" in page
    assert "2 jobs waiting" in page


def test_the_queue_can_be_asked_for_one_state(client: TestClient, store: Store, submit: Submit) -> None:
    waits, cancelled = submit()["id"], submit()["id"]
    store.cancel(cancelled, "local")
    assert ROW.findall(client.get("/jobs?state=queued").text) == [(waits, "queued")]
    assert "No job is failed" not in client.get("/jobs?state=cancelled").text
    assert "Show all" in client.get("/jobs?state=failed").text


def test_a_job_is_cancelled_and_tried_again_without_leaving_the_queue(
    client: TestClient, store: Store, submit: Submit
) -> None:
    job = submit()["id"]
    for verb in ("cancel", "retry"):
        action = re.search(rf'action="(/jobs/{job}/{verb}[^"]*)"', client.get("/jobs").text)
        assert action
        response = client.post(unescape(action[1]))
        assert (response.status_code, response.headers["location"]) == (303, "/jobs")
    assert [each.state for each in store.jobs("local").items] == ["queued", "cancelled"]


def test_the_queue_has_pages_and_only_the_first_loads_itself_again(
    client: TestClient, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routes.job_pages.PER_PAGE", 2)
    made = [submit()["id"] for _ in range(3)]
    first = client.get("/jobs?state=queued").text
    older = re.search(r'href="(/jobs\?[^"]+)" rel="next"', first)
    assert older
    second = client.get(unescape(older[1])).text
    assert [each for each, _ in ROW.findall(first) + ROW.findall(second)] == made[::-1]
    assert 'hx-get="/jobs?state=queued" hx-trigger="every' in first
    assert "hx-trigger" not in re.search(r'<section id="queue"[^>]*>', second)[0]  # type: ignore[index]


def test_the_queue_says_that_no_worker_runs(client: TestClient, store: Store, submit: Submit) -> None:
    submit()
    assert "1 worker" in client.get("/jobs").text
    store.worker_left("worker-1")
    assert "no worker runs" in client.get("/jobs").text
