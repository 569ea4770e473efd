"""The gallery in a real browser: searched, starred, marked, deleted and undone; by mouse, by keys, without a script."""

import zipfile
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browsing import browser, hindrances, open_page, settled
from tests.e2e.conftest import Up

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.browser

# More than one page of the sheet.
PRINTS = 52

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def sheet(service: Up) -> list[dict[str, Any]]:
    """Prints of marbles, enough for two pages of a sheet, newest first."""
    made: list[dict[str, Any]] = []
    for seed in range(0, PRINTS, 13):
        made += service.result(service.submit(prompt="a marble", steps=1, num_images=13, seed=seed))["images"]
    return made[::-1]


def frame(page: Page, image: dict[str, Any]) -> Locator:
    """Where the print stands on the sheet."""
    return page.locator(f"#frame-{image['id']}")


def mark(page: Page, *images: dict[str, Any]) -> None:
    """Mark prints by the mouse."""
    for image in images:
        frame(page, image).hover()
        frame(page, image).get_by_role("checkbox").check()


def test_the_sheet_grows_as_one_scrolls(open_page: Open, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images?q=marble")
    expect(page.locator(".frame")).to_have_count(48)
    page.mouse.wheel(0, 20_000)
    expect(page.locator(".frame")).to_have_count(PRINTS)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)


def test_a_star_is_searched_for_and_found(open_page: Open, service: Up, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images?q=marble")
    liked = frame(page, sheet[3])
    liked.hover()
    liked.get_by_role("button", name="Favourite").click()
    expect(liked.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    assert page.url.endswith("?q=marble"), "the sheet was left, although it can stay current by itself"
    page.get_by_label("Favourites").check()
    expect(page.locator(".frame")).to_have_count(1)
    page.get_by_label("Search", exact=True).fill(f"marble seed:{sheet[3]['seed']} model:tiny")
    page.get_by_label("Search", exact=True).press("Enter")
    expect(frame(page, sheet[3])).to_be_visible()
    page.goto("/images?q=colour:red")
    expect(page.get_by_role("alert").filter(has_text="a field must be one of")).to_be_visible()


def test_marked_prints_are_deleted_and_come_back(open_page: Open, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images?q=marble")
    gone, stays = sheet[0], sheet[1]
    mark(page, gone)
    expect(page.locator("#count")).to_have_text("1 marked")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("1 print deleted")).to_be_visible()
    expect(frame(page, gone)).to_have_count(0)
    expect(frame(page, stays)).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(frame(page, gone)).to_be_visible()


def test_marked_prints_are_downloaded_as_one_file(open_page: Open, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images?q=marble")
    mark(page, *sheet[:3])
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    with zipfile.ZipFile(download.value.path()) as parcel:
        sizes = sorted(each.file_size for each in parcel.infolist())
    assert sizes == sorted(image["bytes"] for image in sheet[:3])


def test_the_sheet_is_worked_by_keys_alone(open_page: Open, service: Up, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images?q=marble", viewport={"width": 1200, "height": 900})
    press = page.keyboard.press
    press("ArrowRight")
    expect(frame(page, sheet[0]).get_by_role("link")).to_be_focused()
    press("ArrowRight")
    press("x")
    press("ArrowRight")
    press("ArrowRight")
    press("Shift+X")
    expect(page.locator("#count")).to_have_text("3 marked")
    press("Delete")
    expect(page.get_by_text("3 prints deleted")).to_be_visible()
    press("u")
    expect(frame(page, sheet[1])).to_be_visible()
    # A key that comes before the script is lost.
    page.wait_for_load_state()
    press("ArrowRight")
    press("ArrowDown")
    press("ArrowUp")
    press("Enter")
    page.wait_for_url(f"**/images/{sheet[0]['id']}")
    page.wait_for_load_state()
    press("4")
    expect(page.get_by_role("button", name="4 of 5")).to_have_attribute("aria-pressed", "true")
    press("f")
    expect(page.locator("#star")).to_have_attribute("aria-pressed", "true")
    press("ArrowRight")
    page.wait_for_url(f"**/images/{sheet[1]['id']}")
    page.wait_for_load_state()
    press("ArrowLeft")
    page.wait_for_url(f"**/images/{sheet[0]['id']}")
    now = httpx2.get(f"{service.url}/api/v1/images/{sheet[0]['id']}", timeout=30).json()
    assert (now["favourite"], now["rating"]) == (True, 4)
    page.goto("/images?q=marble")
    press("/")
    expect(page.get_by_label("Search", exact=True)).to_be_focused()
    press("?")
    expect(page.get_by_label("Search", exact=True)).to_have_value("marble?")


def test_keys_are_told_by_a_question_mark(open_page: Open, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/images")
    page.keyboard.press("?")
    expect(page.get_by_text("from print to print")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_text("from print to print")).not_to_be_visible()


def test_without_javascript_prints_are_searched_starred_deleted_and_brought_back(
    open_page: Open, sheet: list[dict[str, Any]]
) -> None:
    page = open_page("/images", java_script_enabled=False)
    page.get_by_label("Search", exact=True).fill("marble")
    page.get_by_role("button", name="Search").click()
    gone = sheet[4]
    frame(page, gone).hover()
    frame(page, gone).get_by_role("button", name="Favourite").click()
    expect(frame(page, gone).get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    mark(page, gone)
    page.get_by_role("button", name="Delete").click()
    expect(frame(page, gone)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(frame(page, gone)).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".frame")).to_have_count(PRINTS - 48)


def test_a_picture_dropped_anywhere_fills_the_form(open_page: Open, service: Up, sheet: list[dict[str, Any]]) -> None:
    page = open_page("/jobs")
    data = httpx2.get(service.url + sheet[0]["url"], timeout=30).content
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
            return transfer;
        }""",
        list(data),
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.get_by_label("What should appear?")).to_have_value("a marble")
    expect(page.locator("#seed")).to_have_value(str(sheet[0]["seed"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/images?q=marble", "/images?q=colour:red", "/images?deleted=1", "/jobs"])
def test_everyone_can_use_the_gallery(open_page: Open, sheet: list[dict[str, Any]], path: str, scheme: str) -> None:
    page = open_page(path, color_scheme=scheme, bypass_csp=True)
    for box in page.locator('.frame input[name="ids"]').all()[:2]:
        box.check(force=True)
    assert hindrances(page) == []


@pytest.mark.parametrize("width", [320, 820])
def test_the_queue_is_not_wider_than_its_window(open_page: Open, sheet: list[dict[str, Any]], width: int) -> None:
    page = open_page("/jobs", viewport={"width": width, "height": 800})
    assert settled(page).evaluate("() => document.documentElement.scrollWidth") == width
