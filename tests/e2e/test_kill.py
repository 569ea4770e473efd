"""Every part of the running service killed outright: it is named, it comes back, and nothing accepted is lost."""

import os
import signal
import time
from collections.abc import Callable

import httpx2
import pytest

from tests.e2e.conftest import Up


def kill(service: Up, role: str) -> None:
    """SIGKILL one child and wait until the launcher has another that is ready."""
    before = service.said.count(f"{role} is ready again")
    os.kill(service.children()[role], signal.SIGKILL)
    service.until(lambda: service.said.count(f"{role} is ready again") > before, f"another {role}")
    assert f"{role} was killed by SIGKILL; starting it again in 0.5 s" in service.said


def test_a_killed_worker_loses_no_job_and_publishes_no_picture_twice(service: Up) -> None:
    job = service.submit(steps=300, num_images=2, seed=7)
    service.until_job(job, lambda now: now["progress"]["step"] > 0, "a step")
    kill(service, "worker")
    done = service.result(job)
    assert done["state"] == "succeeded", done
    assert [(image["index"], image["seed"]) for image in done["images"]] == [(0, 7), (1, 8)]
    listed = httpx2.get(f"{service.url}/api/v1/images", params={"limit": 100}).json()["items"]
    assert len([image for image in listed if image["job_id"] == job["id"]]) == 2


def test_a_killed_valkey_delays_a_job_and_loses_none(service: Up) -> None:
    running = service.submit(steps=300)
    service.until_job(running, lambda now: now["progress"]["step"] > 0, "a step")
    os.kill(service.children()["valkey"], signal.SIGKILL)
    rung_in_vain = service.submit(steps=2)
    assert service.result(rung_in_vain)["state"] == "succeeded"
    assert service.result(running)["state"] == "succeeded"
    service.until(lambda: "valkey is ready again" in service.said, "another valkey")
    assert service.result(service.submit(steps=2))["state"] == "succeeded"


def test_a_killed_api_comes_back_at_the_same_address(service: Up) -> None:
    job = service.submit(steps=100)
    url = service.url
    kill(service, "api")
    assert service.url == url
    assert service.result(job)["state"] == "succeeded"


def test_a_killed_launcher_leaves_no_orphan(start: Callable[..., Up]) -> None:
    up = start()
    up.until(lambda: up.children().keys() == {"valkey", "worker", "api"}, "all children")
    up.process.kill()
    up.process.wait()
    deadline = time.monotonic() + 10
    while up.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert up.children() == {}


@pytest.mark.slow
def test_a_second_interrupt_ends_everything_at_once(start: Callable[..., Up]) -> None:
    up = start(DARKROOM_SHUTDOWN_S="600").until_ready()
    job = up.submit(steps=1000, num_images=16)
    up.until_job(job, lambda now: now["progress"]["step"] > 0, "a step")
    up.process.send_signal(signal.SIGINT)
    up.until(lambda: "api" not in up.children(), "an end of the API")
    # The worker is still at it for minutes; who comes now is refused and not kept waiting.
    assert "worker" in up.children()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{up.url}/healthz", timeout=5)
    up.process.send_signal(signal.SIGINT)
    assert up.exit_code() == 130
    assert up.children() == {}
