"""A blind study in a real browser, from the first tick to the sheet of answers; with JavaScript and without."""

import csv
import io
from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browsing import browser, hindrances, open_page, settled
from tests.e2e.conftest import Up

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def images(service: Up) -> list[str]:
    """The ids of four prints."""
    made = service.result(service.submit(num_images=4, steps=2, prompt="a fox in the snow"))
    return [image["id"] for image in made["images"]]


def set_up(page: Page, images: list[str], kind: str, repeats: int) -> str:
    """Set a study up by its form; returns the path of its page."""
    page.get_by_label("Name").fill("Foxes")
    page.get_by_label(kind).check()
    page.get_by_label("Pairs shown twice").fill(str(repeats))
    for side, ids in (("a", images[:2]), ("b", images[2:])):
        for id in ids:
            box = page.locator(f"input[name={side}][value='{id}']")
            if box.is_visible():
                box.check()
    page.get_by_role("button", name="Set it up").click()
    page.wait_for_url("**/study/*")
    return page.url


def rows_of(page: Page) -> list[dict[str, str]]:
    """The sheet that the page lets one download."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers as CSV").click()
    return list(csv.DictReader(io.StringIO(download.value.path().read_text())))


def test_a_study_is_set_up_answered_by_keys_and_counted(open_page: Open, images: list[str]) -> None:
    page = open_page("/study")
    study = set_up(page, images, "Which of the two is real?", repeats=1)
    expect(page.get_by_text("Nobody has answered yet.")).to_be_visible()
    page.get_by_label("Who answers?").fill("Ann")
    page.get_by_role("button", name="Begin").click()
    for number, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowDown"), start=1):
        expect(page.get_by_text(f"Pair {number} of 3")).to_be_visible()
        settled(page)
        widths = page.locator(".candidate img").evaluate_all("all => all.map(each => each.naturalWidth)")
        assert widths == [64, 64]
        page.keyboard.press(key)
    page.get_by_role("button", name="What it has come to").click()
    expect(page.get_by_text("95 % interval")).to_be_visible()
    expect(page.get_by_role("row", name="Ann")).to_be_visible()
    assert page.url == study
    rows = rows_of(page)
    assert [row["choice"] for row in rows] == ["left", "right", "tie"]
    assert {row["rater"] for row in rows} == {"Ann"}
    assert all(sorted((row["left"][:5], row["right"][:5])) == ["image", "scene"] for row in rows)


def test_without_javascript_two_groups_are_judged(open_page: Open, images: list[str]) -> None:
    page = open_page("/study", java_script_enabled=False)
    set_up(page, images, "Which of the two do you prefer?", repeats=0)
    page.get_by_label("Who answers?").fill("Ben")
    page.get_by_role("button", name="Begin").click()
    for choice in ("This one, on the left", "I cannot tell"):
        expect(page.get_by_text("Keys:")).to_be_hidden()
        page.get_by_role("button", name=choice).click()
    page.get_by_role("button", name="What it has come to").click()
    rows = rows_of(page)
    assert [row["choice"] for row in rows] == ["left", "tie"]
    assert {row[side] for row in rows for side in ("left", "right")} == {f"image:{id}" for id in images}


@pytest.fixture(scope="module")
def pages(service: Up, images: list[str]) -> dict[str, str]:
    """Where the pages of a study are: the list, one that was answered, a pair, the end."""
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        fields = {"name": "Foxes", "kind": "preferred", "repeats": "1", "a": images[:2], "b": images[2:]}
        study = client.post("/study", data=fields, files={"real": ("", b"")}).headers["location"]
        raters = [client.post(f"{study}/raters", data={"rater": who}).headers["location"] for who in ("Ann", "Ben")]
        while 'action="' in (asked := client.get(raters[0]).text.partition('class="asked"')[2].partition(">")[0]):
            client.post(asked.split('action="')[1].split('"')[0], data={"choice": "tie"})
    return {"list": "/study", "study": study, "pair": raters[1], "thanks": raters[0]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["list", "study", "pair", "thanks"])
def test_everyone_can_take_part(open_page: Open, pages: dict[str, str], name: str, scheme: str) -> None:
    page = open_page(pages[name], color_scheme=scheme, bypass_csp=True)
    assert hindrances(page) == []
    for width in (320, 390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
