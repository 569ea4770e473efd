"""The OpenAI dialect as its own client meets it, against a served API."""

import asyncio
import base64
import io
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI
from openai import OpenAI
from PIL import Image

from app.jobs import recipe
from app.jobs.settings import Settings
from app.jobs.store import Failed, Job, Store
from app.main import create_app
from tests.app.conftest import served
from tests.app.dialects import conftest
from tests.app.dialects.conftest import ENTRY, UPSCALER, Hands, until
from tests.app.pictures import file_of, mask, photo


def opened(picture: Any) -> Image.Image:
    """The picture of an answer or an event."""
    return Image.open(io.BytesIO(base64.b64decode(picture.b64_json)))


def hole(size: tuple[int, int], box: tuple[int, int, int, int]) -> bytes:
    """A mask as OpenAI has it: opaque, and transparent in the box."""
    picture = Image.new("RGBA", size, "black")
    picture.paste((0, 0, 0, 0), box)
    return file_of(picture)


def stop(app: FastAPI) -> None:
    """What a signal does to a server: everybody who waits is told."""
    watch = app.state.house.watch
    asyncio.run_coroutine_threadsafe(watch.close(), watch._reader._listener.get_loop()).result(10)


@pytest.fixture
def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=0)


@pytest.mark.parametrize("size", ["auto", "256x256", "512x512", "1024x1024", "1536x1024", "1792x1024", "100x33"])
def test_a_picture_is_as_large_as_it_was_asked_for(client: OpenAI, hands: Hands, size: Any) -> None:
    answer = client.images.with_raw_response.generate(model="dall-e-3", prompt="a cat", size=size)
    made = answer.parse()
    picture = opened(made.data[0])
    assert f"{picture.width}x{picture.height}" == made.size == ("128x128" if size == "auto" else size)
    assert picture.format == "PNG"
    assert answer.headers["x-darkroom-model"] == "storybook"
    assert answer.headers.get("x-darkroom-scaled", answer.headers["x-darkroom-developed"]) == made.size
    if "x-darkroom-scaled" in answer.headers:
        # the recipe is that of what was developed
        found = recipe.read(base64.b64decode(made.data[0].b64_json))
        assert (found.prompt, f"{found.width}x{found.height}") == ("a cat", answer.headers["x-darkroom-developed"])


def test_what_a_client_says_is_what_is_developed(client: OpenAI, hands: Hands, newest: Callable[[], Job]) -> None:
    extras = {"negative_prompt": "a dog", "seed": 7, "steps": 3, "guidance_scale": 2.5, "nobody_knows": 1}
    made = client.images.generate(
        model="storybook", prompt="a cat", n=3, size="64x192", output_format="webp", output_compression=50,
        quality="high", user="somebody", style="vivid", extra_body=extras,
    )  # fmt: skip
    params = newest().params
    assert (params.prompt, params.negative_prompt, params.prompt_syntax) == ("a cat", "a dog", "plain")
    assert (params.seed, params.steps, params.guidance_scale, params.num_images) == (7, 3, 2.5, 3)
    assert (params.width, params.height, params.format, params.quality) == (64, 192, "webp", 50)
    assert [opened(each).format for each in made.data or []] == ["WEBP"] * 3
    assert made.output_format == "webp"


def test_a_picture_can_be_fetched_where_the_answer_says_it_lies(client: OpenAI, hands: Hands) -> None:
    made = client.images.generate(prompt="a cat", size="300x200", output_format="jpeg", response_format="url")
    assert made.data is not None
    response = httpx2.get(str(made.data[0].url))
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.size, picture.format, response.headers["content-type"]) == ((300, 200), "JPEG", "image/jpeg")
    assert made.data[0].b64_json is None


def test_an_edit_without_a_mask_begins_with_the_picture(
    client: OpenAI, hands: Hands, newest: Callable[[], Job]
) -> None:
    image = photo(300, 200)
    made = client.images.edit(image=image, prompt="at night", extra_body={"strength": "0.5", "seed": "3"})
    job = newest()
    assert job.task == "image_to_image"
    assert (job.params.width, job.params.height) == (160, 104)
    assert job.params.model_dump()["strength"] == 0.5
    assert job.params.seed == 3
    assert opened(made.data[0]).size == (300, 200)


def test_an_edit_with_a_mask_paints_where_it_is_transparent(
    client: OpenAI, hands: Hands, newest: Callable[[], Job]
) -> None:
    made = client.images.edit(
        image=[("fox.png", photo(200, 100), "image/png")],
        mask=("mask.png", hole((200, 100), (20, 20, 90, 60)), "image/png"),
        prompt="a rocket", n=2, size="512x256",
    )  # fmt: skip
    job = newest()
    assert job.task == "inpaint"
    assert job.params.model_dump()["mask_mode"] == "transparent"
    # at its own size, so that what is left alone is the client's own
    assert (job.params.width, job.params.height) == (200, 100)
    assert [opened(each).size for each in made.data or []] == [(512, 256)] * 2


@pytest.mark.parametrize(("kind", "partial_images"), [("generate", 0), ("generate", 1), ("edit", 3)])
def test_a_stream_shows_the_picture_before_it_is_done(
    client: OpenAI, hands: Hands, kind: str, partial_images: int
) -> None:
    more = {"image": photo(64, 64)} if kind == "edit" else {}
    ask: Any = getattr(client.images, kind)
    events = list(ask(prompt="a cat", stream=True, partial_images=partial_images, size="200x200", **more))
    name = "image_edit" if kind == "edit" else "image_generation"
    assert [event.type for event in events] == [f"{name}.partial_image"] * partial_images + [f"{name}.completed"]
    assert [event.partial_image_index for event in events[:-1]] == list(range(partial_images))
    assert [opened(event).size for event in events] == [(200, 200)] * len(events)
    assert events[-1].usage.total_tokens == 0
    assert events[-1].size == "200x200"


def test_models_are_those_of_the_catalogue(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["storybook"]
    assert client.models.retrieve("storybook").object == "model"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-image-1")
    assert refused.value.code == "not_found"


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("prompt", "", "prompt"), ("prompt", "a" * 2001, "prompt"), ("prompt", "\0", "prompt"), ("n", 0, "n"),
        ("n", 17, "n"), ("size", "large", "size"), ("size", "0x512", "size"), ("size", "4097x64", "size"),
        ("size", "9" * 99, "size"), ("output_format", "gif", "output_format"), ("partial_images", 4, "partial_images"),
        ("response_format", "svg", "response_format"), ("seed", -1, "seed"), ("steps", 0, "steps"),
        ("guidance_scale", 51, "guidance_scale"), ("stream", "perhaps", "stream"),
    ],
)  # fmt: skip
def test_what_is_impossible_is_a_bad_request_that_names_the_field(
    client: OpenAI, store: Store, field: str, value: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(**{"prompt": "a cat", "extra_body": {field: value}})
    assert (refused.value.type, refused.value.param) == ("invalid_request_error", param)
    assert refused.value.code == "invalid_value"
    assert param in str(refused.value.message)
    assert store.queue_length() == 0


def test_more_pixels_than_an_answer_holds_are_refused(client: OpenAI, store: Store) -> None:
    with pytest.raises(openai.BadRequestError, match="33554432 pixels in all"):
        client.images.generate(prompt="a cat", size="4096x4096", n=3)
    assert store.queue_length() == 0


@pytest.mark.parametrize(
    ("image", "mask_", "param"),
    [
        (b"no picture", None, "image"),
        (photo(64, 64), b"no picture", "mask"),
        (photo(64, 64), hole((32, 32), (0, 0, 9, 9)), "mask"),
        (photo(64, 64), mask(64, 64), "mask"),  # nothing of it is transparent
        ([photo(64, 64), photo(64, 64)], None, "image"),
    ],
)
def test_a_picture_that_is_of_no_use_is_a_bad_request(
    client: OpenAI, store: Store, image: Any, mask_: bytes | None, param: str
) -> None:
    more: dict[str, Any] = {} if mask_ is None else {"mask": mask_}
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(image=image, prompt="a cat", **more)
    assert refused.value.param == param
    assert store.queue_length() == 0


def test_an_edit_needs_a_picture_and_a_form(client: OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(image=[], prompt="a cat", extra_body={"image_": "x"}, mask=photo())
    assert refused.value.param == "image"
    response = httpx2.post(f"{url}/v1/images/edits", json={"prompt": "a cat"})
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("GET", "/v1/images/generations", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", f"/v1/images/{'0' * 32}/content", 404, "not_found"),
        ("GET", "/v1/images/guessed/content", 404, "not_found"),
    ],
)
def test_every_error_below_v1_has_openai_s_shape(url: str, method: str, path: str, status: int, code: str) -> None:
    response = httpx2.request(method, url + path, headers={"Accept": "text/html"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    (said,) = response.json().values()
    assert said.keys() == {"message", "type", "param", "code"}
    assert (said["type"], said["param"], said["code"]) == ("invalid_request_error", None, code)


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"prompt": "\\ud800"}', b'{"prompt": "a", "n": NaN}'])
def test_a_body_that_cannot_be_read_is_a_bad_request(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx2.post(f"{url}/v1/images/generations", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_too_large_is_said_so(url: str) -> None:
    response = httpx2.post(f"{url}/v1/images/generations", content=b"x" * (2 << 20))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


def test_without_its_key_a_client_learns_that_it_needs_one(own_service: tuple[Settings, Store]) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    token = store.keys.create("ann").token
    with served(create_app(settings)) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="not the key", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as refused:
            client.images.generate(prompt="a cat")
        assert refused.value.code == "invalid_api_key"
        assert [model.id for model in client.with_options(api_key=token).models.list()] == ["storybook"]


def test_while_there_is_no_model_a_client_may_come_back(own_service: tuple[Settings, Store]) -> None:
    with served(create_app(own_service[0])) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=0)
        with pytest.raises(openai.InternalServerError) as away:
            client.images.generate(prompt="a cat")
    assert (away.value.status_code, away.value.type) == (503, "server_error")
    assert int(away.value.response.headers["retry-after"]) > 0


def test_where_an_upscaler_is_served_it_makes_most_of_the_difference(
    own_service: tuple[Settings, Store], make_hands: Callable[[Settings, Store], Hands]
) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    store.register_model("worker-1", UPSCALER)
    make_hands(settings, store)
    with served(create_app(settings)) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=0)
        # the upscaler paints nothing from words, so the default model does, whatever it is called
        answer = client.images.with_raw_response.generate(prompt="a cat", model="an-upscaler", size="1024x768")
    assert opened(answer.parse().data[0]).size == (1024, 768)
    assert store.jobs(None).items[0].model == "storybook"
    said = {name: answer.headers[f"x-darkroom-{name}"] for name in ("model", "developed", "upscaled", "scaled")}
    assert said == {"model": "storybook", "developed": "152x112", "upscaled": "608x448", "scaled": "1024x768"}


def test_a_model_may_be_called_what_a_header_cannot_hold(own_service: tuple[Settings, Store]) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY.model_copy(update={"name": "книга\n"}))
    with served(create_app(settings)) as url:
        wish = {"prompt": "a cat", "stream": True}
        with httpx2.stream("POST", f"{url}/v1/images/generations", json=wish) as response:
            assert response.headers["x-darkroom-model"] == "%D0%BA%D0%BD%D0%B8%D0%B3%D0%B0%0A"


def test_what_a_prompt_lacks_is_told(client: OpenAI, hands: Hands) -> None:
    made = client.images.generate(prompt="zebra")
    assert "knows none of these words" in made.model_dump()["warnings"][0]


def test_a_client_that_leaves_never_cancels(
    client: OpenAI, store: Store, hands: Hands, newest: Callable[[], Job]
) -> None:
    hands.may_work.clear()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).images.generate(prompt="a cat")
    client.images.generate(prompt="a cat", stream=True).close()
    assert store.queue_length() == 2
    hands.may_work.set()
    until(lambda: newest().state == "succeeded", "the picture of the one who left later")
    assert {job.state for job in store.jobs(None, limit=2).items} == {"succeeded"}


def test_a_retry_of_the_client_gets_the_picture_it_asked_for_first(
    client: OpenAI, store: Store, hands: Hands, newest: Callable[[], Job]
) -> None:
    before = newest().id
    hands.may_work.clear()
    again = threading.Timer(1.5, hands.may_work.set)
    again.start()
    # the first request, and perhaps the second, is answered too slowly for this client
    made = client.with_options(timeout=1.0, max_retries=2).images.generate(prompt="a slow cat", n=2, size="64x64")
    assert len(made.data or []) == 2
    assert [job.id for job in store.jobs(None, limit=2).items][1] == before


def test_what_is_sent_again_is_made_once_and_what_is_sent_anew_is_made_anew(
    client: OpenAI, store: Store, hands: Hands
) -> None:
    def job_of(retries: int, **wish: Any) -> str:
        headers = {"x-stainless-retry-count": str(retries)}
        answer = client.images.with_raw_response.generate(
            **{"prompt": "a cat", "size": "64x64", "extra_headers": headers, **wish}
        )
        return str(answer.headers["x-darkroom-job"])

    first = job_of(0)
    assert [job_of(1), job_of(2), job_of(1, size="64x64")] == [first] * 3
    second = job_of(0)
    assert second != first
    assert job_of(1) == second
    assert job_of(1, prompt="a dog") not in (first, second)
    assert job_of(1, extra_body={"seed": 1}) not in (first, second)
    with store._transactions.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET created_at = created_at - 901")
    assert job_of(1) not in (first, second)


def test_an_edit_that_is_sent_again_is_made_once(client: OpenAI, hands: Hands) -> None:
    def job_of(retries: int, image: bytes) -> str:
        headers = {"x-stainless-retry-count": str(retries)}
        answer = client.images.with_raw_response.edit(image=image, prompt="a cat", extra_headers=headers)
        return str(answer.headers["x-darkroom-job"])

    first = job_of(0, photo(64, 64))
    assert job_of(1, photo(64, 64)) == first
    assert job_of(1, photo(64, 72)) != first


def test_nobody_attaches_to_the_job_of_another(own_service: tuple[Settings, Store]) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    tokens = [store.keys.create(name).token for name in ("ann", "bob")]
    wish = {"prompt": "a cat", "stream": True}
    with served(create_app(settings)) as url:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}", "x-stainless-retry-count": "1"}
            with httpx2.stream("POST", f"{url}/v1/images/generations", json=wish, headers=headers) as response:
                assert response.status_code == 200
        assert {job.owner for job in store.jobs(None).items} == {"ann", "bob"}


def test_a_cancelled_job_is_a_conflict_that_is_not_asked_for_again(
    client: OpenAI, store: Store, newest: Callable[[], Job]
) -> None:
    def cancel() -> None:
        until(lambda: store.queue_length() == 1, "the job")
        store.cancel(newest().id, "local")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    # with its retries: it must not make one
    with pytest.raises(openai.ConflictError) as refused:
        client.with_options(max_retries=2).images.generate(prompt="a cat")
    canceller.join()
    assert refused.value.code == "job_cancelled"
    assert store.queue_length() == 0


@pytest.mark.parametrize(
    ("code", "status"), [("bad_params", 400), ("worker_lost", 500), ("model_unavailable", 503), ("internal", 500)]
)
def test_why_a_job_failed_is_told_once(client: OpenAI, store: Store, code: str, status: int) -> None:
    def fail() -> None:
        until(lambda: store.queue_length() == 1, "the job")
        claim = store.claim_next("worker-1", ["storybook"])
        assert claim is not None
        assert store.finish(claim, Failed(code, "It cannot be done."))

    failing = threading.Thread(target=fail)
    failing.start()
    with pytest.raises(openai.APIStatusError, match="It cannot be done") as refused:
        client.with_options(max_retries=2).images.generate(prompt="a cat")
    failing.join()
    assert refused.value.status_code == status
    assert store.queue_length() == 0


def test_an_error_within_a_stream_is_an_error_of_the_client(client: OpenAI, store: Store) -> None:
    stream = client.images.generate(prompt="a cat", stream=True)
    store.cancel(store.jobs(None).items[0].id, None)
    with pytest.raises(openai.APIError, match="cancelled") as refused:
        list(stream)
    assert refused.value.code == "job_cancelled"


def test_a_preview_that_is_none_is_left_out(client: OpenAI, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "PREVIEW", "data:image/webp;base64,bm8gcGljdHVyZQ==")
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=2, size="64x64"))
    assert [event.type for event in events] == ["image_generation.completed"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_waits_while_the_service_stops_may_come_back(
    own_service: tuple[Settings, Store], stream: bool
) -> None:
    settings, store = own_service
    store.register_model("worker-1", ENTRY)
    app = create_app(settings)
    with served(app) as url:
        stopping = threading.Thread(target=lambda: (until(lambda: store.queue_length() == 1, "the job"), stop(app)))
        stopping.start()
        client = OpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=0)
        ask: Any = client.images.generate
        with pytest.raises(openai.APIError, match="goes on when it is back") as away:
            list(ask(prompt="a cat", stream=stream))
        stopping.join()
    assert away.value.type == "server_error"
    assert store.queue_length() == 1
