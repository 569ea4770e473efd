"""Signing in, and the API's reference, in a real browser: no complaint in its console, and nobody else is asked."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browsing import browser, hindrances, open_page
from tests.fuzz.household import Household, household

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service() -> Iterator[Household]:
    """A service that wants a key."""
    with household() as house:
        yield house


def signed_in(page: Page, key: str) -> Page:
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Sign in").press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


def test_a_visitor_shows_the_key_once_and_leaves_again(open_page: Callable[..., Page], service: Household) -> None:
    page = signed_in(open_page("/sign-in"), service.key)
    assert page.evaluate("document.cookie") == ""
    page.goto("/images")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your key")).to_be_focused()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everyone_can_sign_in(open_page: Callable[..., Page], colours: str) -> None:
    assert hindrances(open_page("/sign-in", color_scheme=colours, bypass_csp=True)) == []


def test_the_reference_needs_no_network_and_sends_requests(open_page: Callable[..., Page], service: Household) -> None:
    page = signed_in(open_page("/sign-in"), service.key)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/docs")
    operation = page.locator("#operations-jobs-submitJob")
    operation.locator(".opblock-summary").click()
    with page.expect_response("**/api/v1/jobs") as answer:
        operation.get_by_role("button", name="Execute").click()
    assert answer.value.status == 202
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((service.url, "data:"))] == []
