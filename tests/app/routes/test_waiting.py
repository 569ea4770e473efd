"""Who waits for an answer and may not any more: revoked keys and sessions that ended keep nothing open."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from redis import Redis

from app.deps import SESSION_COOKIE
from app.jobs.events import publish_done, publish_progress
from app.jobs.spec import TextToImageParams
from app.jobs.store import Job, Store
from app.jobs.store.keyring import Keyring

JOBS = "/api/v1/jobs"
# Three, and what a busy machine adds.
A_FEW_SECONDS = 8.0

Params = Callable[..., TextToImageParams]


@dataclass(frozen=True)
class Answer:
    """What was answered in the end, and how long after `then` that was."""

    status: int
    text: str
    seconds: float


class Looks:
    """Counts the looks at keys and sessions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count from now on."""
        self.count = 0
        for name in ("admit", "admit_session"):
            monkeypatch.setattr(Keyring, name, self._counted(getattr(Keyring, name)))

    def _counted(self, look: Callable[[Keyring, str], Any]) -> Callable[[Keyring, str], Any]:
        def counted(keys: Keyring, token: str) -> Any:
            found = look(keys, token)
            self.count += 1
            return found

        return counted


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """How often a key or a session was looked at."""
    return Looks(monkeypatch)


async def answers_after(then: Callable[[], object], looks: Looks, *requests: httpx2.Request) -> list[Answer]:
    """Send all requests, let `then` happen once every one of them is let in, and read each answer to its end."""
    async with httpx2.AsyncClient(timeout=30) as client:
        began = time.monotonic()

        async def ask(request: httpx2.Request) -> Answer:
            response = await client.send(request, stream=True)
            text = (await response.aread()).decode()
            return Answer(response.status_code, text, time.monotonic() - began)

        asked = [asyncio.create_task(ask(request)) for request in requests]
        while looks.count < len(requests):
            await asyncio.sleep(0.01)
        assert not any(task.done() for task in asked)
        began = time.monotonic()
        await asyncio.to_thread(then)
        return await asyncio.gather(*asked)


def test_a_revoked_key_and_an_ended_session_end_what_waits_for_them(
    url: str, store: Store, make_params: Params, redis_connection: Redis, looks: Looks
) -> None:
    key, browser = store.keys.create("ann"), store.keys.create("ann")
    session = store.keys.sign_in(browser.token)
    assert session is not None
    job, talkative = (store.submit(make_params(), "ann") for _ in range(2))
    shown = {"Authorization": f"Bearer {key.token}"}
    cookie = {"Cookie": f"{SESSION_COOKIE}={session.token}"}
    wish = {"prompt": "a cat", "stream": True}

    def is_shut_out() -> None:
        store.keys.revoke(key.id)
        store.keys.sign_out(session.token)
        for step in range(40):
            publish_progress(redis_connection, talkative.id, step, 100, 0, None)
            time.sleep(0.05)

    by_key, by_session, busy, poll, pictures, stream = asyncio.run(
        answers_after(
            is_shut_out,
            looks,
            httpx2.Request("GET", f"{url}{JOBS}/{job.id}/events", headers=shown),
            httpx2.Request("GET", f"{url}{JOBS}/{job.id}/events", headers=cookie),
            httpx2.Request("GET", f"{url}{JOBS}/{talkative.id}/events", headers=shown),
            httpx2.Request("GET", f"{url}{JOBS}/{job.id}?wait=20&until=done", headers=shown),
            httpx2.Request("POST", f"{url}/sdapi/v1/txt2img", headers=shown, json={"prompt": "a cat"}),
            httpx2.Request("POST", f"{url}/v1/images/generations", headers=shown, json=wish),
        )
    )

    for answer in (by_key, by_session, busy, poll, pictures, stream):
        assert answer.seconds < A_FEW_SECONDS
    for answer in (by_key, by_session, busy):
        assert "event: state" in answer.text
        assert "event: done" not in answer.text
    # Talk keeps nobody in: it had ended long before the last of it.
    assert '"step":39' not in busy.text.replace(" ", "")
    assert poll.status == pictures.status == 401
    assert "invalid_api_key" in stream.text.partition("event: error")[2]


def test_who_waits_with_one_key_shares_a_look_at_it(
    url: str, store: Store, make_params: Params, develop: Callable[[], Job], redis_connection: Redis, looks: Looks
) -> None:
    key = store.keys.create("ann")
    job = store.submit(make_params(), "ann")

    def goes_on_and_ends() -> None:
        for step in range(100):
            publish_progress(redis_connection, job.id, step, 100, 0, None)
            time.sleep(0.02)
        develop()
        publish_done(redis_connection, job.id, "succeeded")

    shown = {"Authorization": f"Bearer {key.token}", "Last-Event-ID": "0-0"}
    many = [httpx2.Request("GET", f"{url}{JOBS}/{job.id}/events", headers=shown) for _ in range(10)]
    answers = asyncio.run(answers_after(goes_on_and_ends, looks, *many))
    assert all(answer.text.count("event: progress") == 100 for answer in answers)
    # One look each at the door, then one a second for them all.
    assert len(many) < looks.count <= len(many) + 8
