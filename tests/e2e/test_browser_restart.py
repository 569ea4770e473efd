"""Whatever dies while a job is on its way, the page that shows it goes on by itself."""

import os
import signal

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import PATIENCE_MS, browser
from tests.e2e.conftest import Up

__all__ = ["browser"]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("who", ["api", "worker", "valkey"])
def test_the_page_picks_up_again(browser: Browser, service: Up, who: str) -> None:
    context = browser.new_context(base_url=service.url)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/?steps=200")
    page.get_by_label("What should appear?").fill("a red ball")
    page.get_by_role("button", name="Develop").click()
    card = page.locator(".job").first
    expect(card).to_contain_text("Developing, step", timeout=PATIENCE_MS)
    page.evaluate("() => { window.isStillHere = true }")
    before = service.children()[who]
    os.kill(before, signal.SIGKILL)
    service.until(lambda: service.children().get(who, before) != before, f"another {who}")
    print_ = page.locator(".job[data-state=succeeded] a.print").first
    expect(print_).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("() => window.isStillHere"), "the page was loaded anew"
    # What was said of the outage is gone with it.
    expect(page.locator("#notice")).to_be_hidden()
    context.close()
