"""A real browser for the tests of the pages, and pages that fail their test if the console says anything."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from tests.e2e.conftest import Up

AXE = Path(__file__).parent / "vendor/axe.min.js"
NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
HOW_TO_GET_ONE = "python -m playwright install --with-deps --only-shell chromium"
PATIENCE_MS = 90_000  # a loaded machine is slow, not wrong

NOWHERE = "/nowhere"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: the system's, or the one that playwright has installed."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    # In a container there often is no sandbox to be had, and these pages are our own.
    options = ["--no-sandbox"]
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=options)
        except Error as error:
            pytest.skip(f"NO BROWSER, so the pages were not tested. Get one with: {HOW_TO_GET_ONE}\n{error}")
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, service: Up) -> Iterator[Callable[..., Page]]:
    """Opens pages that fail the test if their console says anything, as it does of all that the policy refuses."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def hear(message: ConsoleMessage) -> None:
        # A page that is an error is one on purpose, as is one that says what is wrong with what was asked; a part of
        # a page that is missing is not.
        is_said = "status of 422" in message.text
        if not is_said and urlsplit(message.location["url"]).path not in (NOWHERE, "/"):
            complaints.append(f"{message.type}: {message.text}")

    def open_page(path: str = "/", **options: Any) -> Page:
        contexts.append(browser.new_context(base_url=service.url, **options))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        page = contexts[-1].new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def settled(page: Page) -> Page:
    """The page, once all its pictures are there."""
    for picture in page.locator("img:visible").all():
        # Those further down are fetched when they are looked at.
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True, timeout=PATIENCE_MS)
        assert picture.evaluate("picture => picture.naturalWidth") > 0
    return page


def hindrances(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds that keeps somebody from using the page, everything unfolded; the policy must be bypassed."""
    settled(page)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.add_script_tag(path=AXE)
    found = page.evaluate("() => axe.run()")
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
