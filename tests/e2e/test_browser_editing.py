"""Working on pictures in a real browser: a mask is drawn, by mouse and by keyboard, and what grew is compared."""

import io
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Locator, Page, expect

from app.jobs.pictures import mask_of
from tests.app.pictures import mask, photo
from tests.e2e.browsing import browser, hindrances, open_page, settled
from tests.e2e.conftest import Up

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.browser

SIDE = 64
OWN = {"name": "own.png", "mimeType": "image/png", "buffer": photo(SIDE, SIDE)}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def images(service: Up) -> list[str]:
    """The ids of two prints that differ in their seeds."""
    made = service.result(service.submit(num_images=2, steps=2))
    return [image["id"] for image in made["images"]]


@pytest.fixture(scope="module")
def edited(service: Up, images: list[str]) -> str:
    """The page of a job that has repainted a part of a print."""
    files = {"mask": ("mask.png", mask(SIDE, SIDE, (10, 10, 30, 30)), "image/png")}
    fields = {"image": f"image:{images[0]}", "prompt": "a red ball", "steps": "2"}
    response = httpx2.post(f"{service.url}/edit", data=fields, files=files, timeout=30)
    where = response.headers["location"]
    service.result({"links": {"self": f"/api/v1{where}"}})
    return str(where)


def picture_at(service: Up, path: str) -> Image.Image:
    """The picture the service has there."""
    response = httpx2.get(service.url + path, timeout=30)
    response.raise_for_status()
    return Image.open(io.BytesIO(response.content)).convert("RGB")


def job_of(service: Up, card: Locator) -> dict[str, Any]:
    """The job a card shows."""
    id = str(card.get_attribute("id")).removeprefix("job-")
    return service.job({"links": {"self": f"/api/v1/jobs/{id}"}})


def draw(page: Page, *points: tuple[float, float]) -> None:
    """Draw over the picture with the mouse; the points are shares of its sides."""
    box = page.locator("mask-editor canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def percent(page: Page) -> int:
    """How much of the picture will be painted anew, as the page says."""
    said = page.locator("mask-editor [role=status]").inner_text()
    found = re.search(r"(\d+) % of the picture", said)
    return int(found[1]) if found else 0


def test_what_is_drawn_over_changes_and_nothing_else_does(open_page: Open, service: Up) -> None:
    page = open_page("/edit")
    page.get_by_label("A picture of your own").set_input_files(OWN)
    page.get_by_role("button", name="Take this one").click()
    page.locator("mask-editor canvas").scroll_into_view_if_needed()
    draw(page, (0.25, 0.25), (0.6, 0.3), (0.5, 0.6))
    assert 5 < percent(page) < 50
    page.get_by_label("What should the picture show then?").fill("a red ball")
    page.get_by_role("button", name="Develop").click()
    card = page.locator(".job[data-state=succeeded]")
    card.wait_for()
    assert "/edit?upload=" in page.url, "the page was left, although it can stay current by itself"

    job = job_of(service, card)
    before = picture_at(service, f"/jobs/{job['id']}/given/image")
    marked = mask_of(picture_at(service, f"/jobs/{job['id']}/given/mask"), "white")
    after = picture_at(service, job["images"][0]["url"])
    assert (marked.getpixel((16, 16)), marked.getpixel((60, 4))) == (255, 0)
    changed = ImageChops.difference(before, after).convert("L").point(lambda level: 255 * (level > 0))
    assert ImageChops.multiply(changed, ImageChops.invert(marked)).getbbox() is None
    assert ImageStat.Stat(changed, marked).mean[0] > 100, "most of what was marked must be painted anew"


def test_a_mask_is_painted_by_keyboard_undone_and_inverted(open_page: Open, images: list[str]) -> None:
    page = open_page(f"/edit?image={images[0]}")
    undo, redo = (page.get_by_role("button", name=name) for name in ("Undo", "Redo"))
    expect(undo).to_be_disabled()
    canvas = page.locator("mask-editor canvas")
    canvas.focus()
    for key in ("Space", *["ArrowRight"] * 12, "Shift+ArrowDown", "Space"):
        canvas.press(key)
    painted = percent(page)
    assert painted > 3
    canvas.press("ArrowDown")
    assert percent(page) == painted, "a brush that is lifted paints nothing"
    canvas.press("Control+z")
    assert percent(page) == 0
    expect(undo).to_be_disabled()
    canvas.press("Control+Shift+Z")
    assert percent(page) == painted
    expect(redo).to_be_disabled()
    canvas.press("i")
    assert abs(percent(page) - (100 - painted)) <= 1
    canvas.press("e")
    expect(page.get_by_role("button", name="Erase")).to_have_attribute("aria-pressed", "true")
    draw(page, (0.1, 0.1), (0.9, 0.1))
    assert percent(page) < 98 - painted
    canvas.press("Delete")
    assert percent(page) == 0
    canvas.press("Control+z")
    assert percent(page) > 50


def test_nothing_is_sent_before_something_is_marked(open_page: Open, images: list[str]) -> None:
    page = open_page(f"/edit?image={images[0]}")
    page.get_by_role("button", name="Develop").click()
    assert page.locator("mask-editor").evaluate("editor => editor.matches(':invalid')")
    expect(page.locator(".job")).to_have_count(0)
    draw(page, (0.4, 0.4), (0.5, 0.5))
    assert page.locator("mask-editor").evaluate("editor => editor.matches(':valid')")


def test_a_mask_from_a_file_is_painted_and_can_be_changed(open_page: Open, images: list[str]) -> None:
    page = open_page(f"/edit?image={images[0]}")
    page.get_by_text("A mask from a file").click()
    half = {"name": "half.png", "mimeType": "image/png", "buffer": mask(SIDE, SIDE, (0, 0, 31, 63))}
    page.get_by_label("As large as the picture").set_input_files(half)
    expect(page.locator("mask-editor [role=status]")).to_contain_text("50 %")
    assert page.get_by_label("As large as the picture").input_value() == ""
    page.get_by_role("button", name="Undo").click()
    assert percent(page) == 0


def test_without_javascript_a_mask_comes_as_a_file(open_page: Open) -> None:
    page = open_page("/edit", java_script_enabled=False)
    page.get_by_label("A picture of your own").set_input_files(OWN)
    page.get_by_role("button", name="Take this one").click()
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()
    page.get_by_text("A mask from a file").click()
    marked = {"name": "mask.png", "mimeType": "image/png", "buffer": mask(SIDE, SIDE, (10, 10, 30, 30))}
    page.get_by_label("As large as the picture").set_input_files(marked)
    page.get_by_label("What should the picture show then?").fill("a red ball")
    page.get_by_role("button", name="Develop").click()
    page.wait_for_url("**/jobs/*")
    page.locator(".job[data-state=succeeded]").wait_for()
    before, after = (page.get_by_role("img", name=name, exact=True).bounding_box() for name in ("Before", "a red ball"))
    assert before is not None
    assert after is not None
    assert before["x"] + before["width"] <= after["x"], "without a handle they lie side by side"


def test_a_picture_grows_and_a_handle_shows_how(open_page: Open, service: Up, images: list[str]) -> None:
    page = open_page(f"/upscale?image={images[0]}")
    page.get_by_label("2 times").check()
    page.get_by_role("button", name="Upscale").click()
    card = page.locator(".job[data-state=succeeded]")
    card.wait_for()
    assert [image["width"] for image in job_of(service, card)["images"]] == [2 * SIDE]

    handle = card.get_by_role("slider", name="Before and after")
    expect(handle).to_have_attribute("aria-valuenow", "50")
    handle.focus()
    for key in ("ArrowRight", "PageUp"):
        handle.press(key)
    expect(handle).to_have_attribute("aria-valuetext", "62 % Before, 38 % After")
    handle.press("Home")
    expect(handle).to_have_attribute("aria-valuenow", "0")
    slider = card.locator("compare-slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 30, steps=4)
    page.mouse.up()
    assert abs(int(str(handle.get_attribute("aria-valuenow"))) - 75) <= 2
    over = card.locator("figure").nth(1).evaluate("figure => getComputedStyle(figure).clipPath")
    assert re.search(r"7[3-7]%\)$", over)


def test_two_prints_are_compared(open_page: Open, images: list[str]) -> None:
    page = open_page("/compare")
    page.locator(f"input[name=a][value='{images[0]}']").check()
    page.locator(f"input[name=b][value='{images[1]}']").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("tr.differs")).to_contain_text(["Seed"])
    expect(page.get_by_role("slider")).to_be_visible()
    page.get_by_label("Side by side").check()
    left, right = (page.locator("compare-slider img").nth(index).bounding_box() for index in (0, 1))
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    expect(page.get_by_role("slider")).to_be_hidden()


@pytest.fixture(scope="module")
def kept(service: Up) -> str:
    """The page of a print whose four steps are kept."""
    made = service.result(service.submit(steps=4, save_trajectory=True))
    return f"/images/{made['images'][0]['id']}/trajectory"


def test_a_step_is_developed_without_javascript(open_page: Open, kept: str) -> None:
    page = open_page(f"{kept}?step=3", java_script_enabled=False)
    page.get_by_role("button", name="Develop this step").click()
    # The page loads itself again until the step is there.
    page.locator(f"img[src='/api/v1{kept}/3']").wait_for()
    settled(page)
    page.get_by_role("link", name="After").click()
    expect(page.get_by_text("Step 4 of 4, not developed yet")).to_be_visible()


def test_one_slides_through_the_steps_of_a_print(open_page: Open, kept: str) -> None:
    page = open_page(kept)
    shown, step = page.locator("step-scrubber img"), page.get_by_role("slider", name="Step")
    for number in (1, 2, 3, 4):
        expect(page.locator("step-scrubber [role=status]")).to_have_text(f"Step {number} of 4")
        expect(shown).to_have_attribute("src", f"/api/v1{kept}/{number}")
        settled(page)
        step.press("ArrowRight")
    step.press("Home")
    expect(shown).to_have_attribute("src", f"/api/v1{kept}/1")


PAGES = (
    "/edit",
    "/edit?image={0}",
    "/upscale",
    "/upscale?image={0}",
    "/compare",
    "/compare?a={0}&b={1}",
    "edited",
    "kept",
    "/images/{0}/trajectory",
)


@pytest.fixture
def where(path: str, images: list[str], edited: str, kept: str) -> str:
    """The path, with prints in it."""
    return {"edited": edited, "kept": kept}.get(path, path).format(*images)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_everyone_can_work_on_pictures(open_page: Open, where: str, scheme: str) -> None:
    # The policy forbids strangers' scripts, and axe is one.
    page = open_page(where, color_scheme=scheme, bypass_csp=True)
    assert hindrances(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_its_window_nor_moves(open_page: Open, where: str) -> None:
    page = open_page("/healthz")
    page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver(list => list.getEntries().forEach(shift => { window.moved += shift.value }))
            .observe({type: "layout-shift", buffered: true})"""
    )
    page.goto(where)
    settled(page)
    assert page.evaluate("() => window.moved") < 0.01
    for width in (320, 390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
