"""Clients of other services, against the whole service with real networks, at the sizes those clients ask for."""

import base64
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import OpenAI
from PIL import Image
from webuiapi import Upscaler, WebUIApi

from app.jobs import recipe
from tests.app.pictures import file_of, mask, photo
from tests.e2e.conftest import MODEL, PATIENCE_S, Up

pytestmark = pytest.mark.e2e

Pixels = np.ndarray[Any, Any]


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB")).astype(int)


def opened(picture: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.b64_json)))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def openai(service: Up) -> OpenAI:
    return OpenAI(base_url=f"{service.url}/v1", api_key="not needed", max_retries=0)


@pytest.fixture
def webui(service: Up) -> WebUIApi:
    return WebUIApi(baseurl=f"{service.url}/sdapi/v1")


@pytest.mark.parametrize("side", [512, 1024])
def test_a_small_model_draws_at_the_sizes_that_clients_ask_for(openai: OpenAI, webui: WebUIApi, side: int) -> None:
    size: Any = f"{side}x{side}"
    answer = openai.images.with_raw_response.generate(
        prompt="a red ball", size=size, extra_body={"steps": 2, "seed": 1}
    )
    (picture,) = answer.parse().data or []
    assert opened(picture).size == (side, side)
    said = [answer.headers[f"x-darkroom-{name}"] for name in ("model", "developed", "upscaled", "scaled")]
    assert said == [MODEL, "64x64", "256x256", size]
    found = recipe.read(base64.b64decode(picture.b64_json or ""))
    assert (found.seed, found.width, found.upscale) == (1, 64, 4)
    made = webui.txt2img(
        prompt="a red ball", width=side, height=side, steps=2, cfg_scale=2.0, seed=1, sampler_name="DDIM", eta=0.0
    )
    # the same recipe is the same picture, whoever asks
    assert np.array_equal(pixels(made.image), pixels(opened(picture)))


def test_an_edit_leaves_alone_what_its_mask_leaves_alone(openai: OpenAI) -> None:
    hole = Image.new("RGBA", (200, 150), "black")
    hole.paste((0, 0, 0, 0), (30, 20, 80, 70))
    made = openai.images.edit(
        image=photo(200, 150), mask=file_of(hole), prompt="a red ball", extra_body={"steps": 2, "seed": 3}
    )
    (picture,) = made.data or []
    changed = np.abs(pixels(opened(picture)) - pixels(Image.open(io.BytesIO(photo(200, 150))))).max(axis=2) > 0
    assert changed[20:70, 30:80].any()
    changed[20:70, 30:80] = False
    assert not changed.any()


def test_a_stream_shows_how_a_picture_comes_about(openai: OpenAI) -> None:
    stream = openai.images.generate(
        prompt="a red ball", size="128x128", stream=True, partial_images=1, extra_body={"steps": 40}
    )
    *before, last = list(stream)
    assert [event.type for event in before] == ["image_generation.partial_image"]
    assert last.type == "image_generation.completed"
    assert [opened(event).size for event in (*before, last)] == [(128, 128)] * 2


def test_a_client_that_asks_again_by_itself_gets_what_it_asked_for_first(service: Up, openai: OpenAI) -> None:
    impatient = openai.with_options(timeout=1.0, max_retries=50)
    made = impatient.images.with_raw_response.generate(
        prompt="a slow red ball", n=2, size="64x64", extra_body={"steps": 150, "seed": 5}
    )
    assert len(made.parse().data or []) == 2
    jobs = httpx2.get(f"{service.url}/api/v1/jobs?limit=100", timeout=30).json()["items"]
    assert [job["params"]["prompt"] for job in jobs].count("a slow red ball") == 1


def test_a_picture_is_made_into_another_and_its_recipe_read(webui: WebUIApi) -> None:
    drawn = webui.txt2img(prompt="a red ball", width=64, height=64, steps=2, seed=5, n_iter=2)
    assert drawn.info["all_seeds"] == [5, 6]
    assert webui.png_info(drawn.image).info == drawn.info["infotexts"][0]
    again = webui.img2img(images=[drawn.image], prompt="a red ball", width=512, height=512, steps=4)
    assert again.image.size == (512, 512)
    original = Image.open(io.BytesIO(photo(128, 96)))
    painted = webui.img2img(
        images=[original], mask_image=Image.open(io.BytesIO(mask(128, 96, (30, 20, 60, 50)))), mask_blur=0,
        prompt="a red ball", width=128, height=96, steps=2, denoising_strength=1.0,
    )  # fmt: skip
    changed = np.abs(pixels(painted.image) - pixels(original)).max(axis=2) > 0
    assert changed[20:51, 30:61].any()
    changed[20:51, 30:61] = False
    assert not changed.any()


def test_a_picture_is_enlarged_by_the_model_there_is(webui: WebUIApi) -> None:
    large = webui.extra_single_image(
        Image.open(io.BytesIO(photo(30, 20))), upscaler_1=Upscaler.ESRGAN_4x, upscaling_resize=3
    )
    assert large.image.size == (90, 60)
    assert "by storybook-x4" in large.info


def test_what_runs_is_watched_and_interrupted(webui: WebUIApi) -> None:
    answers: list[Any] = []
    long = {"prompt": "a red ball", "width": 64, "height": 64, "steps": 1000, "sampler_name": "DDIM"}
    asking = threading.Thread(target=lambda: answers.append(webui.txt2img(**long, n_iter=16)))
    asking.start()
    until(
        lambda: webui.get_progress()["progress"] > 0 and webui.get_progress()["current_image"] is not None, "a preview"
    )
    until(lambda: webui.get_progress()["progress"] > 0, "a step")
    shown = webui.get_progress()
    assert 0 < shown["progress"] < 1
    Image.open(io.BytesIO(base64.b64decode(shown["current_image"]))).load()
    webui.interrupt()
    asking.join(PATIENCE_S)
    assert answers[0].images == []
    webui.util_wait_for_ready(check_interval=0.05)
