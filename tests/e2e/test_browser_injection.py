"""What strangers write is shown and never run: in prompts, searches, tags and names of files."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, Dialog, Page

from tests.e2e.browsing import PATIENCE_MS, browser
from tests.e2e.conftest import Up
from tests.e2e.payloads import BREAKERS, COUNT, ELEMENTS, bundles, payloads

__all__ = ["browser"]

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, service: Up) -> Iterator[Page]:
    """A page without our policy, which would hide that something was let through; nothing may run on it."""
    context = browser.new_context(base_url=service.url, bypass_csp=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    yield page
    assert page.evaluate("() => window.ran") is None
    assert dialogs == []
    context.close()


@pytest.fixture(scope="module")
def hostile(service: Up) -> list[dict[str, Any]]:
    """Jobs whose prompts hold every payload."""
    jobs = [service.submit(prompt=text, negative_prompt=text, steps=1) for text in bundles(2000)]
    return [service.result(job) for job in jobs]


def visit(page: Page, *paths: str) -> None:
    """Open pages one after the other; whatever one of them runs is told by a variable that outlives it not."""
    for path in paths:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("() => window.ran") is None, path


def test_a_payload_that_is_let_through_is_noticed(browser: Browser) -> None:
    # The guard's own guard: without escaping most of them do run.
    context = browser.new_context()
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.set_content(f"<p>{ELEMENTS[3].replace('{}', 'window.ran=1')}</p>")
    page.wait_for_function("() => window.ran === 1")
    context.close()


def test_there_are_five_hundred_of_every_kind() -> None:
    every = payloads()
    assert len(set(every)) == COUNT == 500
    assert all(any(each.startswith(breaker) for each in every) for breaker in BREAKERS)
    assert "".join(bundles(2000)) == "".join(every)
    assert all(len(text) <= 2000 for text in bundles(2000))


def test_prompts_are_shown_and_never_run(page: Page, hostile: list[dict[str, Any]]) -> None:
    images = [image["id"] for job in hostile for image in job["images"]]
    assert len(images) == len(hostile)
    sheets = ["/", "/images", "/jobs", "/edit", "/compare"]
    prints = [f"/images/{id}" for id in images[:3]]
    visit(page, *sheets, *prints, f"/jobs/{hostile[0]['id']}", f"/edit?image={images[1]}", f"/images/{images[0]}")
    assert page.get_by_role("heading", level=1).text_content() == hostile[0]["params"]["prompt"]


def test_addresses_are_shown_and_never_run(page: Page) -> None:
    for text in bundles(450)[::6]:
        said = quote(text)
        visit(
            page, f"/?prompt={said}&seed={said}&size={said}&model={said}", f"/images?q={said}&tag={said}&rating={said}"
        )


def test_a_prompt_that_is_typed_is_shown_live_and_never_run(page: Page) -> None:
    page.goto("/")
    page.get_by_label("What should appear?").fill(bundles(2000)[0])
    page.get_by_role("button", name="Develop").click()
    page.locator(".job[data-state=succeeded]").first.wait_for()


def test_tags_are_refused_or_shown_and_never_run(page: Page, service: Up, hostile: list[dict[str, Any]]) -> None:
    image = hostile[0]["images"][0]["id"]
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        for text in payloads()[::10]:
            client.post(f"/images/{image}/opinion", data={"tags": text})
            client.patch(f"/api/v1/images/{image}", json={"tags": [text]})
    visit(page, f"/images/{image}", "/images")


def test_names_of_files_are_never_run(page: Page, service: Up) -> None:
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        for text in payloads()[::25]:
            answer = client.post("/recall", files={"file": (text, b"no picture")}, headers={"accept": "text/html"})
            assert answer.status_code == 422
    name = '"><img src=x onerror=window.ran=1>.png'
    page.goto("/")
    page.locator("#picture").set_input_files({"name": name, "mimeType": "image/png", "buffer": b"no picture"})
    page.get_by_role("heading", name="The request asks for something impossible").wait_for()
