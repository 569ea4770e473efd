"""Jobs over HTTP: what is accepted is queued and told completely, and waiting for it costs nothing."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app.jobs.events import publish_done, publish_progress, publish_state
from app.jobs.queue import consume
from app.jobs.settings import Settings
from app.jobs.spec import SEEDS
from app.jobs.store import Claim, Failed, Job, Store
from app.main import create_app

JOBS = "/api/v1/jobs"

Submit = Callable[..., dict[str, Any]]
Develop = Callable[[], Job]
TakeClaim = Callable[[], Claim]


def test_a_wish_is_accepted_with_every_gap_filled(client: TestClient) -> None:
    response = client.post(JOBS, json={"task": "text_to_image", "prompt": "a red cat"})
    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"{JOBS}/{job['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert 0 <= job["params"].pop("seed") < SEEDS
    assert job["params"] == {
        "version": 3,
        "task": "text_to_image",
        "prompt": "a red cat",
        "negative_prompt": "",
        "prompt_syntax": "plain",
        "model": "storybook",
        "model_revision": None,
        "width": 128,
        "height": 128,
        "steps": 25,
        "guidance_scale": 5.0,
        "guidance_interval": [0.0, 1.0],
        "sampler": "ddim",
        "eta": 0.0,
        "num_images": 1,
        "format": "png",
        "quality": 90,
        "metadata": True,
        "priority": "normal",
        "reproducible": False,
        "save_trajectory": False,
        "upscale": 1,
        "upscaler": None,
    }


def test_a_job_has_every_member_of_the_contract(submit: Submit) -> None:
    job = submit(num_images=2)
    here = f"{JOBS}/{job['id']}"
    assert job["links"] == {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"}
    assert job["created_at"].endswith(("Z", "+00:00"))
    del job["id"], job["params"], job["links"], job["created_at"]
    assert job == {
        "task": "text_to_image",
        "state": "queued",
        "cancel_requested": False,
        "warnings": [],
        "position": 0,
        "estimate": None,
        "progress": {"step": 0, "steps": 8},
        "images": [],
        "result": None,
        "error": None,
        "started_at": None,
        "finished_at": None,
        "timings": {"queued_s": None, "text_s": None, "denoise_s": None, "decode_s": None, "encode_s": None},
    }


def test_a_given_seed_is_kept_and_a_drawn_one_differs(submit: Submit) -> None:
    assert submit(seed=0)["params"]["seed"] == 0
    assert submit()["params"]["seed"] != submit()["params"]["seed"]


def test_without_the_default_model_the_first_one_is_used(
    settings: Settings, client: TestClient, serve: Callable[[FastAPI], AbstractContextManager[str]]
) -> None:
    other = create_app(settings.model_copy(update={"default_model": "nobody-has-this"}))
    with serve(other) as url:
        job = httpx2.post(url + JOBS, json={"task": "text_to_image", "prompt": "a cat"}).json()
    assert job["params"]["model"] == "storybook"


def test_a_prompt_of_unknown_words_is_accepted_with_a_warning_that_a_retry_keeps(
    client: TestClient, submit: Submit
) -> None:
    assert submit(prompt="a cat")["warnings"] == []
    job = submit(prompt="ein Fuchs")
    (warning,) = job["warnings"]
    assert warning == (
        "storybook knows none of these words, so the picture may show anything. It draws things such as cat, house."
    )
    client.post(f"{JOBS}/{job['id']}/cancel")
    assert client.post(f"{JOBS}/{job['id']}/retry").json()["warnings"] == [warning]


def test_workers_are_rung_after_the_row_is_committed(submit: Submit, redis_connection: Redis) -> None:
    submit()
    assert consume(redis_connection, timeout_s=1)


def test_a_job_is_accepted_while_redis_is_away(settings: Settings, client: TestClient, away_redis_url: str) -> None:
    deaf = create_app(settings.model_copy(update={"redis_url": away_redis_url}))
    with TestClient(deaf, base_url=str(client.base_url)) as other:
        assert other.post(JOBS, json={"task": "text_to_image", "prompt": "a cat"}).status_code == 202
        assert other.get(JOBS).json()["items"][0]["state"] == "queued"


def test_a_developed_job_names_its_pictures_and_times(client: TestClient, submit: Submit, develop: Develop) -> None:
    submitted = submit(num_images=2, seed=SEEDS - 1)
    develop()
    job = client.get(submitted["links"]["self"]).json()
    assert job["state"] == "succeeded"
    assert job["position"] is None
    assert job["params"]["model_revision"] == "r1"
    assert [image["seed"] for image in job["images"]] == [SEEDS - 1, 0]
    assert set(job["images"][0]) == {
        "id", "index", "seed", "width", "height", "sha256", "bytes", "url", "thumbnail_url",
    }  # fmt: skip
    assert job["timings"].pop("queued_s") >= 0
    assert job["timings"] == {"text_s": 0.01, "denoise_s": 0.5, "decode_s": 0.02, "encode_s": 0.003}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert client.get(job["images"][0]["url"]).headers["content-type"] == "image/png"


def test_a_failed_job_says_why(client: TestClient, store: Store, submit: Submit, claim: TakeClaim) -> None:
    here = submit()["links"]["self"]
    store.finish(claim(), Failed("nan", "The model produced numbers that are no picture."))
    job = client.get(here).json()
    assert job["state"] == "failed"
    assert job["error"] == {"code": "nan", "message": "The model produced numbers that are no picture."}


def test_the_position_counts_the_jobs_before(client: TestClient, submit: Submit, claim: TakeClaim) -> None:
    first, second, third = submit(), submit(), submit()
    assert [job["position"] for job in (first, second, third)] == [0, 1, 2]
    claim()
    assert client.get(third["links"]["self"]).json()["position"] == 1
    assert client.get(first["links"]["self"]).json()["position"] is None


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(
    client: TestClient, submit: Submit, claim: TakeClaim
) -> None:
    running, queued = submit(), submit()
    claim()
    asked = client.post(running["links"]["cancel"])
    assert (asked.status_code, asked.json()["state"], asked.json()["cancel_requested"]) == (200, "running", True)
    ended = client.post(queued["links"]["cancel"])
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert client.post(queued["links"]["cancel"]).json() == ended.json()


def test_workers_hear_of_a_cancel(
    submit: Submit, client: TestClient, claim: TakeClaim, redis_connection: Redis
) -> None:
    running = submit()
    claim()
    with redis_connection.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe("darkroom:cancel")
        channel.get_message(timeout=5)
        client.post(running["links"]["cancel"])
        message = next(filter(None, (channel.get_message(timeout=5) for _ in range(5))))
    assert message["data"].decode() == running["id"]


def test_an_ended_job_cannot_be_cancelled(client: TestClient, submit: Submit, develop: Develop) -> None:
    job = submit()
    develop()
    response = client.post(job["links"]["cancel"])
    assert response.status_code == 409
    assert response.json()["type"].endswith(":conflict")


def test_a_retry_is_a_new_job_of_the_same_recipe(client: TestClient, submit: Submit, develop: Develop) -> None:
    first = submit(negative_prompt="a dog", num_images=2)
    develop()
    response = client.post(f"{JOBS}/{first['id']}/retry")
    again = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"{JOBS}/{again['id']}"
    assert again["id"] != first["id"]
    assert again["params"] == first["params"]


def test_jobs_are_listed_newest_first_page_by_page(client: TestClient, submit: Submit) -> None:
    newest_first = [submit()["id"] for _ in range(5)][::-1]
    seen: list[str] = []
    path: str | None = f"{JOBS}?limit=2&task=text_to_image"
    while path is not None:
        response = client.get(path)
        seen += [job["id"] for job in response.json()["items"]]
        following = response.links.get("next", {}).get("url")
        assert (following is None) == (response.json()["next_cursor"] is None)
        path = following
    assert seen == newest_first


def test_jobs_are_listed_by_state_and_task(client: TestClient, submit: Submit, develop: Develop) -> None:
    done, waiting = submit(), submit()
    develop()
    for query, ids in (("state=succeeded", [done["id"]]), ("state=queued", [waiting["id"]]), ("task=inpaint", [])):
        assert [job["id"] for job in client.get(f"{JOBS}?{query}").json()["items"]] == ids


def test_a_wait_for_an_ended_job_is_none(client: TestClient, submit: Submit, develop: Develop) -> None:
    here = submit()["links"]["self"]
    develop()
    began = time.monotonic()
    assert client.get(f"{here}?wait=30&until=done").json()["state"] == "succeeded"
    assert time.monotonic() - began < 5


def test_a_wait_that_nothing_ends_answers_with_the_job_as_it_is(client: TestClient, submit: Submit) -> None:
    here = submit()["links"]["self"]
    began = time.monotonic()
    response = client.get(f"{here}?wait=0.5")
    assert response.status_code == 200
    assert response.json()["state"] == "queued"
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=nan", "wait=x", "wait=1&until=never"])
def test_a_wait_has_bounds(client: TestClient, submit: Submit, query: str) -> None:
    assert client.get(f"{submit()['links']['self']}?{query}").status_code == 422


async def _changes_while_waiting(
    url: str, query: str, then: Callable[[], object], timeout_s: float = 60
) -> tuple[str, float]:
    """Begin to wait for the newest job, let `then` happen; the state answered, and how long after it, in seconds."""
    async with httpx2.AsyncClient(base_url=url, timeout=timeout_s) as client:
        job = (await client.get(JOBS)).json()["items"][0]
        waiting = asyncio.create_task(client.get(f"{job['links']['self']}?{query}"))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await asyncio.to_thread(then)
        happened = time.monotonic()
        answer = await waiting
        return answer.json()["state"], time.monotonic() - happened


def test_a_wait_ends_at_the_next_change_of_state(
    url: str, store: Store, make_params: Callable[..., Any], claim: TakeClaim, redis_connection: Redis
) -> None:
    job = store.submit(make_params(), "local")

    def is_taken() -> None:
        claim()
        publish_state(redis_connection, job.id, "running")

    state, after_s = asyncio.run(_changes_while_waiting(url, "wait=30", is_taken))
    assert state == "running"
    assert after_s < 1.5


def test_a_wait_for_the_end_is_not_ended_by_less(
    url: str, store: Store, make_params: Callable[..., Any], develop: Develop, redis_connection: Redis
) -> None:
    job = store.submit(make_params(), "local")

    def goes_its_way() -> None:
        publish_state(redis_connection, job.id, "running")
        publish_progress(redis_connection, job.id, 1, 4, 0, None)
        time.sleep(0.5)
        develop()
        publish_done(redis_connection, job.id, "succeeded")

    state, after_s = asyncio.run(_changes_while_waiting(url, "wait=30&until=done", goes_its_way))
    assert state == "succeeded"
    assert after_s < 1.5


def test_a_wait_is_answered_from_the_database_while_redis_is_away(
    settings: Settings,
    store: Store,
    make_params: Callable[..., Any],
    develop: Develop,
    away_redis_url: str,
    serve: Callable[[FastAPI], AbstractContextManager[str]],
) -> None:
    store.submit(make_params(), "local")
    deaf = create_app(settings.model_copy(update={"redis_url": away_redis_url}))
    with serve(deaf) as url:
        state, after_s = asyncio.run(_changes_while_waiting(url, "wait=30&until=done", develop))
    assert state == "succeeded"
    assert after_s < 10


def test_many_waits_hold_up_nobody(url: str, store: Store, make_params: Callable[..., Any]) -> None:
    job = store.submit(make_params(), "local")

    async def crowd() -> float:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            waits = [asyncio.create_task(client.get(f"{JOBS}/{job.id}?wait=8")) for _ in range(100)]
            # More than the thread pool and the database's connections, twice over.
            await asyncio.sleep(3)
            assert not any(wait.done() for wait in waits)
            began = time.monotonic()
            assert (await client.get(f"{JOBS}/{job.id}")).status_code == 200
            took_s = time.monotonic() - began
            assert {(await wait).status_code for wait in waits} == {200}
            return took_s

    assert asyncio.run(crowd()) < 2


def test_a_request_sent_again_with_its_key_is_the_same_job(client: TestClient, store: Store) -> None:
    wish, headers = {"task": "text_to_image", "prompt": "a red cat"}, {"Idempotency-Key": "order 66"}
    first = client.post(JOBS, json=wish, headers=headers)
    # The same wish, written in another way.
    again = client.post(JOBS, content=b'{"prompt":"a red cat",  "num_images":1, "task":"text_to_image"}',
                        headers={**headers, "content-type": "application/json"})  # fmt: skip

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["params"]["seed"] == first.json()["params"]["seed"]
    assert again.headers["location"] == first.headers["location"]
    assert store.queue_length() == 1


def test_a_key_used_for_another_wish_is_refused(client: TestClient, store: Store) -> None:
    headers = {"Idempotency-Key": "k"}
    client.post(JOBS, json={"task": "text_to_image", "prompt": "a red cat"}, headers=headers)

    refused = client.post(JOBS, json={"task": "text_to_image", "prompt": "a blue cat"}, headers=headers)

    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert fault == {"parameter": "idempotency-key", "detail": "was used before, for another request"}
    assert store.queue_length() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    wish = {"task": "text_to_image", "prompt": "a red cat"}
    response = client.post(JOBS, json=wish, headers={"Idempotency-Key": key.encode("latin-1")})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "idempotency-key"


def test_without_a_key_every_request_is_a_new_job(client: TestClient, store: Store) -> None:
    for _ in range(2):
        client.post(JOBS, json={"task": "text_to_image", "prompt": "a red cat"})
    assert store.queue_length() == 2
