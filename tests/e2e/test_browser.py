"""The pages in a real browser, on the whole service: a prompt is typed, a picture appears, and everyone can use it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browsing import NOWHERE, PATIENCE_MS, browser, hindrances, open_page, settled
from tests.e2e.conftest import Up

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.browser

PROMPT = "a red ball on a table"


@pytest.fixture(scope="module")
def made(service: Up) -> dict[str, Any]:
    """A job that has succeeded, with two pictures."""
    return service.result(service.submit(prompt=PROMPT, num_images=2))


@pytest.fixture(scope="module")
def image_path(made: dict[str, Any]) -> str:
    """The page of a picture."""
    return f"/images/{made['images'][0]['id']}"


def test_a_typed_prompt_becomes_a_picture_with_a_page(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            window.previews = [];
            new MutationObserver(changes => window.previews.push(...changes.map(({target}) => target.src)))
                .observe(document.body, {subtree: true, attributeFilter: ["src"]});
        }"""
    )
    page.get_by_label("What should appear?").fill(PROMPT)
    page.get_by_text("Size, steps, seed and more").click()
    page.get_by_label("Steps").fill("100")
    page.get_by_label("Pictures").fill("2")
    page.get_by_role("button", name="Develop").click()
    card = page.locator(".job[data-state=succeeded]")
    card.wait_for(timeout=PATIENCE_MS)
    assert page.url.endswith("/"), "the page was left, although it can stay current by itself"
    previews = page.evaluate("() => window.previews")
    assert any(each.startswith("data:image/") for each in previews), "no preview came while it developed"
    expect(card.locator("a.print")).to_have_count(2)
    settled(page)

    card.locator("a.print").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PROMPT)
    expect(page.locator("dl")).to_contain_text("100")
    assert settled(page).locator("figure img").get_attribute("alt") == PROMPT


def test_again_develops_the_recipe_with_a_new_seed(open_page: Callable[..., Page], image_path: str) -> None:
    page = open_page(image_path)
    seed = page.locator("dl div", has_text="Seed").locator("dd").text_content()
    page.get_by_role("button", name="Again").click()
    page.locator(".job[data-state=succeeded] a.print").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PROMPT)
    assert page.locator("dl div", has_text="Seed").locator("dd").text_content() != seed


def test_a_download_is_the_picture(open_page: Callable[..., Page], image_path: str) -> None:
    page = open_page(image_path)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith(".png")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_without_javascript_the_same_form_leads_to_a_picture(open_page: Callable[..., Page]) -> None:
    page = open_page(java_script_enabled=False)
    page.get_by_label("What should appear?").fill(PROMPT)
    page.get_by_role("button", name="Develop").click()
    page.wait_for_url("**/jobs/*")
    # The page loads itself again until the job is done.
    page.locator(".job[data-state=succeeded] a.print").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PROMPT)


def test_a_chip_fills_the_prompt(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".chips").get_by_role("link", name="a red ball", exact=True).click()
    expect(page.get_by_label("What should appear?")).to_have_value("a red ball")
    assert page.url.endswith("/")


def test_what_is_wrong_is_said_beside_the_field(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_label("What should appear?").fill(PROMPT)
    page.get_by_text("Size, steps, seed and more").click()
    # The browser would not let it through: this is what comes from elsewhere.
    page.locator("#seed").evaluate("field => { field.type = 'text'; field.value = 'seven'; }")
    page.get_by_role("button", name="Develop").click()
    fault = page.locator("#seed-fault")
    expect(fault).to_have_text("This must be a whole number.")
    expect(page.get_by_label("What should appear?")).to_have_value(PROMPT)


def test_a_cancelled_job_can_be_tried_again(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_label("What should appear?").fill(PROMPT)
    page.get_by_text("Size, steps, seed and more").click()
    page.get_by_label("Steps").fill("1000")
    page.get_by_label("Pictures").fill("16")
    page.get_by_role("button", name="Develop").click()
    page.get_by_role("button", name="Cancel").click()
    cancelled = page.locator(".job[data-state=cancelled]")
    expect(cancelled).to_contain_text("Cancelled; nothing was kept")
    cancelled.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job[data-state=cancelled]")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/images", "image", "job", NOWHERE])
def test_everyone_can_use_every_page(
    open_page: Callable[..., Page], made: dict[str, Any], image_path: str, path: str, scheme: str
) -> None:
    where = {"image": image_path, "job": f"/jobs/{made['id']}"}.get(path, path)
    # The policy forbids strangers' scripts, and axe is one.
    assert hindrances(open_page(where, color_scheme=scheme, bypass_csp=True)) == []


@pytest.mark.parametrize("width", [320, 390, 820, 1440])
@pytest.mark.parametrize("path", ["/", "/images", "image"])
def test_no_page_is_wider_than_its_window(
    open_page: Callable[..., Page], image_path: str, path: str, width: int
) -> None:
    page = open_page(image_path if path == "image" else path, viewport={"width": width, "height": 800})
    assert settled(page).evaluate("() => document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("path", ["/", "/images", "image"])
def test_nothing_moves_while_a_page_comes_up(open_page: Callable[..., Page], image_path: str, path: str) -> None:
    page = open_page("/healthz")
    page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver(list => list.getEntries().forEach(shift => { window.moved += shift.value }))
            .observe({type: "layout-shift", buffered: true})"""
    )
    page.goto(image_path if path == "image" else path)
    settled(page)
    assert page.evaluate("() => window.moved") < 0.01
