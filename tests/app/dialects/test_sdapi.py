"""The A1111 dialect as its own client meets it, against a served API."""

import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image
from webuiapi import HiResUpscaler, Upscaler, WebUIApi

from app.jobs import recipe
from app.jobs.settings import Settings
from app.jobs.store import Failed, Job, Store
from app.main import create_app
from tests.app.conftest import served
from tests.app.dialects.conftest import ENTRY, UPSCALER, Hands, until
from tests.app.pictures import mask, photo

MakeHands = Callable[[Settings, Store], Hands]


def picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def client(url: str) -> WebUIApi:
    """A client as its users make it."""
    return WebUIApi(baseurl=f"{url}/sdapi/v1")


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (768, 512), (64, 64), (33, 100)])
def test_a_picture_is_as_large_as_it_was_asked_for(client: WebUIApi, hands: Hands, size: tuple[int, int]) -> None:
    made = client.txt2img(prompt="a cat", width=size[0], height=size[1], seed=7)
    assert made.image.size == (made.info["width"], made.info["height"]) == size
    way = made.info["extra_generation_params"]
    assert way.get("Scaled size", way["Developed size"]) == f"{size[0]}x{size[1]}"


def test_what_a_client_says_is_what_is_developed(client: WebUIApi, hands: Hands, newest: Callable[[], Job]) -> None:
    made = client.txt2img(
        prompt="a (red:1.3) cat", negative_prompt="[dog]", seed=2**32 + 5, steps=3, cfg_scale=2.5, sampler_name="DDIM",
        eta=0.5, batch_size=2, n_iter=2, width=64, height=192, override_settings={"sd_model_checkpoint": "storybook"},
    )  # fmt: skip
    params = newest().params
    assert (params.prompt, params.negative_prompt, params.prompt_syntax) == ("a (red:1.3) cat", "[dog]", "weighted")
    assert (params.seed, params.steps, params.guidance_scale, params.num_images) == (5, 3, 2.5, 4)
    assert (params.sampler, params.eta, params.width, params.height) == ("ddim", 0.5, 64, 192)
    assert len(made.images) == 4
    assert made.info["all_seeds"] == [5, 6, 7, 8]
    assert (made.info["sampler_name"], made.info["steps"], made.info["cfg_scale"]) == ("DDIM", 3, 2.5)
    assert (made.info["sd_model_name"], made.info["sd_model_hash"]) == ("storybook", "r1")
    assert made.parameters["prompt"] == "a (red:1.3) cat"
    assert [recipe.parse_infotext(text).seed for text in made.info["infotexts"]] == [5, 6, 7, 8]
    assert recipe.parse_infotext(made.info["infotexts"][0]).prompt == "a (red:1.3) cat"


def test_a_sampler_goes_by_its_own_name_or_the_model_s_takes_its_place(
    client: WebUIApi, hands: Hands, newest: Callable[[], Job]
) -> None:
    # the client says "Euler a" and eta=1.0 whatever happens
    assert client.txt2img(prompt="a cat", width=64, height=64).info["sampler_name"] == "Euler a"
    assert (newest().params.sampler, newest().params.eta) == ("euler_ancestral", 0.0)
    made = client.txt2img(prompt="a cat", width=64, height=64, sampler_name="DPM++ 2M Karras")
    assert made.info["sampler_name"] == "DDIM"
    assert (newest().params.sampler, newest().params.eta) == ("ddim", 0.0)


def test_no_words_are_no_error(client: WebUIApi, hands: Hands) -> None:
    assert client.txt2img(prompt="", width=64, height=64).info["prompt"] == ""


def test_the_hires_fix_is_a_larger_picture(own_service: tuple[Settings, Store], make_hands: MakeHands) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    store.register_model("worker-1", UPSCALER)
    make_hands(settings, store)
    with served(create_app(settings)) as url:
        client = WebUIApi(baseurl=f"{url}/sdapi/v1")
        made = client.txt2img(prompt="a cat", width=256, height=256, enable_hr=True, hr_upscaler=HiResUpscaler.Latent)
        resized = client.txt2img(prompt="a cat", width=64, height=64, enable_hr=True, hr_resize_x=96, hr_resize_y=64)
        enlarged = client.extra_single_image(
            picture(photo(40, 30)), upscaler_1=Upscaler.ESRGAN_4x, upscaling_resize=3.0
        )
        names = [each["name"] for each in client.get_upscalers()]
    assert made.image.size == (512, 512)
    assert resized.image.size == (96, 64)
    way = made.info["extra_generation_params"]
    assert (way["Developed size"], way["Upscaled size"], way.get("Scaled size")) == ("128x128", "512x512", None)
    assert recipe.parse_infotext(made.info["infotexts"][0]).upscale == 4
    assert enlarged.image.size == (120, 90)
    assert "4 times as large by an-upscaler, then scaled to 120x90" in enlarged.info
    assert names == ["None", "Lanczos", "Nearest", "an-upscaler"]


@pytest.mark.parametrize("resize_mode", [0, 1, 2])
def test_a_picture_from_a_picture(client: WebUIApi, hands: Hands, newest: Callable[[], Job], resize_mode: int) -> None:
    made = client.img2img(
        images=[picture(photo(96, 64))], prompt="a cat", denoising_strength=0.4, width=512, height=512,
        resize_mode=resize_mode, steps=10,
    )  # fmt: skip
    job = newest()
    assert (job.task, job.params.width, job.params.height) == ("image_to_image", 128, 128)
    assert job.params.model_dump()["strength"] == 0.4
    assert made.image.size == (512, 512)
    assert made.info["denoising_strength"] == 0.4
    assert "init_images" not in made.parameters


@pytest.mark.parametrize(("invert", "mode"), [(0, "white"), (1, "black")])
def test_a_mask_says_what_is_painted_anew(
    client: WebUIApi, hands: Hands, newest: Callable[[], Job], invert: int, mode: str
) -> None:
    made = client.img2img(
        images=[picture(photo(96, 64))], mask_image=picture(mask(48, 32, (10, 10, 30, 20))), mask_blur=9,
        inpainting_mask_invert=invert, inpainting_fill=1, prompt="a cat", width=300, height=200,
        denoising_strength=0.0,
    )  # fmt: skip
    said = newest().params.model_dump()
    assert (said["task"], said["mask_mode"], said["feather"]) == ("inpaint", mode, 9)
    assert (said["width"], said["height"], said["strength"]) == (300, 200, 0.001)
    assert made.image.size == (300, 200)


@pytest.mark.parametrize(
    ("upscaler", "more", "size"),
    [
        (Upscaler.none, {"upscaling_resize": 4}, (40, 30)),
        (Upscaler.Lanczos, {"upscaling_resize": 2.5}, (100, 75)),
        (Upscaler.Nearest, {"resize_mode": 1, "upscaling_resize_w": 90, "upscaling_resize_h": 90}, (90, 90)),
        (Upscaler.Lanczos, {"resize_mode": 1, "upscaling_resize_w": 80, "upscaling_resize_h": 90,
                            "upscaling_crop": False}, (80, 60)),
        # no model makes pictures larger here
        (Upscaler.LDSR, {"upscaling_resize": 2}, (80, 60)),
    ],
)  # fmt: skip
def test_a_picture_is_enlarged_without_a_model_where_none_is_named_or_served(
    client: WebUIApi, store: Store, upscaler: Any, more: dict[str, Any], size: tuple[int, int]
) -> None:
    made = client.extra_single_image(picture(photo(40, 30)), upscaler_1=upscaler, **more)
    assert made.image.size == size
    assert ("None" if upscaler == Upscaler.none else f"{size[0]}x{size[1]}") in made.info
    assert store.queue_length() == 0


def test_the_recipe_in_a_picture_is_read(client: WebUIApi, hands: Hands) -> None:
    made = client.txt2img(prompt="a cat, sitting", negative_prompt="dogs", seed=9, steps=7)
    read = client.png_info(made.image)
    assert read.info == made.info["infotexts"][0]
    assert read.parameters["Prompt"] == "a cat, sitting"
    assert (read.parameters["Negative prompt"], read.parameters["Seed"], read.parameters["Steps"]) == ("dogs", "9", "7")
    assert client.png_info(picture(photo())).info == ""


def test_progress_and_interrupt_mean_the_oldest_job_of_this_api(
    client: WebUIApi, url: str, store: Store, hands: Hands
) -> None:
    hands.may_work.clear()
    # somebody's at the native API, whom neither means
    other = httpx2.post(f"{url}/api/v1/jobs", json={"task": "text_to_image", "prompt": "a cat"}).json()["id"]
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(client.txt2img(prompt="a cat", width=64, height=64)))
    asking.start()
    until(lambda: client.get_progress()["state"]["job_count"] == 1, "a job")
    waiting = client.get_progress()
    assert (waiting["progress"], waiting["current_image"]) == (0.0, None)
    assert waiting["state"]["job"] != other
    client.interrupt()
    asking.join(20)
    assert answers[0].images == []
    assert store.get(other, "local").state == "queued"
    idle = client.get_progress()
    assert (idle["progress"], idle["state"]["job_count"]) == (0.0, 0)
    client.interrupt()
    client.skip()


def test_progress_tells_the_step_and_shows_the_preview(
    client: WebUIApi, url: str, store: Store, hands: Hands, newest: Callable[[], Job]
) -> None:
    hands.stops_at = 2
    asking = threading.Thread(target=lambda: client.txt2img(prompt="a cat", width=64, height=64))
    asking.start()
    until(lambda: client.get_progress()["progress"] == 0.5, "half of it")
    told = client.get_progress()
    assert told["state"]["sampling_step"] == told["state"]["sampling_steps"] / 2
    assert told["eta_relative"] > 0
    assert picture(base64.b64decode(told["current_image"])).format == "PNG"
    shown = httpx2.get(f"{url}/sdapi/v1/progress?skip_current_image=true").json()
    assert shown["current_image"] is None
    # a running job is asked to end, once or twice, and has no pictures then; the next one is left alone
    running = newest()
    another = threading.Thread(target=lambda: client.txt2img(prompt="a house", width=64, height=64))
    another.start()
    until(lambda: client.get_progress()["state"]["job_count"] == 2, "another job")
    client.interrupt()
    client.interrupt()
    assert client.get_progress()["state"]["interrupted"] is True
    hands.stops_at = None
    asking.join(20)
    another.join(20)
    assert store.get(running.id, "local").state == "cancelled"
    assert (newest().params.prompt, newest().state) == ("a house", "succeeded")


def test_a_client_finds_what_it_looks_for_before_it_begins(client: WebUIApi) -> None:
    assert client.util_get_model_names() == ["storybook [r1]"]
    assert client.util_get_sampler_names() == ["DDIM", "DDPM", "Euler a"]
    assert client.util_get_scheduler_names() == ["automatic"]
    assert client.util_get_current_model() == "storybook [r1]"
    assert client.get_scripts() == {"txt2img": [], "img2img": []}
    assert client.get_cmd_flags()["api"] is True
    assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert set(client.get_memory()) == {"ram", "cuda"}
    assert client.refresh_checkpoints() is None
    for ask in ("loras", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles", "sd_vae",
                "latent_upscale_modes"):  # fmt: skip
        assert getattr(client, f"get_{ask}")() == []
    client.util_wait_for_ready(check_interval=0.01)


def test_a_client_that_chooses_a_model_gets_it(own_service: tuple[Settings, Store], make_hands: MakeHands) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    store.register_model("worker-1", ENTRY.model_copy(update={"name": "an-upscaler", "revision": "r2"}))
    make_hands(settings, store)
    with served(create_app(settings)) as url:
        client = WebUIApi(baseurl=f"{url}/sdapi/v1")
        client.util_set_model("an-upscaler")
        assert client.util_get_current_model() == "an-upscaler [r2]"
        assert client.txt2img(prompt="a cat", width=64, height=64).info["sd_model_name"] == "an-upscaler"
        once = {"sd_model_checkpoint": "storybook [r1]"}
        made = client.txt2img(prompt="a cat", width=64, height=64, override_settings=once)
        assert made.info["sd_model_name"] == "storybook"
        refused = client.set_options({"sd_model_checkpoint": "v1-5-pruned"})
        assert refused["detail"] == "sd_model_checkpoint must be one of an-upscaler [r2], storybook [r1]"
        assert client.set_options({"CLIP_stop_at_last_layers": 2}) is None


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("txt2img", {"steps": 0}, "steps"), ("txt2img", {"width": 0}, "width"), ("txt2img", {"width": 5000}, "width"),
        ("txt2img", {"batch_size": 16, "n_iter": 2}, "batch_size"), ("txt2img", {"cfg_scale": 99}, "cfg_scale"),
        ("txt2img", {"prompt": "\0"}, "prompt"), ("txt2img", {"prompt": "a" * 2001}, "prompt"),
        ("txt2img", {"width": 4096, "height": 4096, "n_iter": 3}, "width"), ("txt2img", {"steps": "many"}, "steps"),
        ("txt2img", {"width": 4096, "height": 64, "enable_hr": True}, "width"),
        ("img2img", {}, "init_images"), ("img2img", {"init_images": []}, "init_images"),
        ("img2img", {"init_images": ["no picture"]}, "init_images"),
        ("img2img", {"init_images": ["bm8gcGljdHVyZQ=="]}, "init_images"),
        ("img2img", {"init_images": ["http://127.0.0.1/fox.png"]}, "init_images"),
        ("img2img", {"init_images": [base64.b64encode(photo()).decode()], "mask": "bm8="}, "mask"),
        ("img2img", {"init_images": [base64.b64encode(photo()).decode()],
                     "mask": base64.b64encode(mask(box=(0, 0, 0, 0))).decode(), "width": 24, "height": 16}, "mask"),
        ("extra-single-image", {"image": "no picture"}, "image"), ("extra-single-image", {}, "image"),
        ("png-info", {"image": "bm8gcGljdHVyZQ=="}, "image"), ("options", {"sd_model_checkpoint": 7},
                                                                 "sd_model_checkpoint"),
    ],
)  # fmt: skip
def test_what_is_impossible_is_said_in_that_api_s_shape(
    url: str, store: Store, path: str, body: dict[str, Any], field: str
) -> None:
    response = httpx2.post(f"{url}/sdapi/v1/{path}", json=body)
    assert response.status_code == 422, response.text
    said = response.json()
    assert said.keys() == {"error", "detail", "body", "errors"}
    assert (said["error"], said["body"]) == ("Invalid", "")
    assert said["detail"].startswith(field)
    assert store.queue_length() == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "nowhere", 404, "NotFound"),
        ("GET", "txt2img", 405, "MethodNotAllowed"),
        ("POST", "txt2img", 415, "UnsupportedMediaType"),
        ("DELETE", "progress", 405, "MethodNotAllowed"),
    ],
)
def test_every_error_has_that_api_s_shape(url: str, method: str, path: str, status: int, error: str) -> None:
    response = httpx2.request(method, f"{url}/sdapi/v1/{path}", headers={"Accept": "text/html"})
    assert response.status_code == status
    assert response.json()["error"] == error


def test_a_job_that_fails_is_an_error_of_the_client(client: WebUIApi, store: Store) -> None:
    def fail() -> None:
        until(lambda: store.queue_length() == 1, "the job")
        claim = store.claim_next("worker-1", ["storybook"])
        assert claim is not None
        assert store.finish(claim, Failed("internal", "It cannot be done."))

    failing = threading.Thread(target=fail)
    failing.start()
    with pytest.raises(RuntimeError) as refused:
        client.txt2img(prompt="a cat")
    failing.join()
    status, text = refused.value.args
    assert (status, json.loads(text)["detail"]) == (500, "It cannot be done.")


def test_a_key_is_the_password_of_a_client(own_service: tuple[Settings, Store], make_hands: MakeHands) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    token = store.keys.create("ann").token
    make_hands(settings, store)
    with served(create_app(settings)) as url:
        client = WebUIApi(baseurl=f"{url}/sdapi/v1")
        with pytest.raises(RuntimeError) as refused:
            client.txt2img(prompt="a cat", width=64, height=64)
        assert refused.value.args[0] == 401
        assert json.loads(refused.value.args[1])["error"] == "Unauthorized"
        client.set_auth("ann", token)
        assert client.txt2img(prompt="a cat", width=64, height=64).image.size == (64, 64)
    assert store.jobs(None).items[0].owner == "ann"
