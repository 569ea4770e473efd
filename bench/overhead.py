"""What the service costs beside the model: from POST to the first step, and from POST to the picture.

With a model that does nothing, all of it is ours; with the bundled one, whatever is not the model's is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from redis import Redis

from app.jobs.events import stream_key
from app.jobs.queue import connect
from bench.common import ROUNDS, Figure, quantile, run, spread
from bench.stack import Stack, sleeper, stack

WISH = {"task": "text_to_image", "prompt": "a fox in the snow"}


@dataclass(frozen=True, slots=True)
class Trip:
    """One job on an idle server: seconds from the POST to the first word of a step, to the end; and the model's own."""

    first_step_s: float
    whole_s: float
    model_s: float


def measure(is_short: bool) -> Sequence[Figure]:
    """Times to the first step, and shares of whole jobs that are not the model's."""
    with stack(sleeper) as idle:
        nothing = _trips(idle, 40 if is_short else 300, steps=1)
    with stack() as real:
        pictures = _trips(real, 5 if is_short else 3 * ROUNDS, steps=25)
    first_ms = [1000 * trip.first_step_s for trip in nothing]
    whole_ms = [1000 * trip.whole_s for trip in nothing]
    beside = [100 * (trip.whole_s - trip.model_s) / trip.whole_s for trip in pictures]
    return [
        Figure("POST to first step, no model, p50", quantile(first_ms, 0.5), "ms", min(first_ms), goal="<= 25"),
        Figure("POST to first step, no model, p99", quantile(first_ms, 0.99), "ms", high=max(first_ms), goal="<= 60"),
        Figure("POST to picture, no model, p50", quantile(whole_ms, 0.5), "ms", min(whole_ms), max(whole_ms)),
        spread("model's own time, bundled model, 25 steps", [trip.model_s for trip in pictures], "s"),
        spread("end to end beside the model, bundled model", beside, "%", "<= 3"),
    ]


def _trips(service: Stack, count: int, steps: int) -> list[Trip]:
    """Jobs one after the other, each to an idle server, after two that do not count."""
    bell = connect(service.settings.resolved_redis_url)
    with httpx2.Client(timeout=120) as client:
        return [_trip(service, client, bell, steps) for _ in range(count + 2)][2:]


def _trip(service: Stack, client: httpx2.Client, bell: Redis, steps: int) -> Trip:
    # So that whatever the last one left to do is done.
    time.sleep(0.05)
    posted, started = time.time(), time.perf_counter()
    job_id = service.submit(client, WISH | {"steps": steps})
    done = service.result(client, job_id)
    whole_s = time.perf_counter() - started
    return Trip(first_step_at(bell, job_id) - posted, whole_s, _model_s(done))


def first_step_at(bell: Redis, job_id: str) -> float:
    """When Redis was told of the first step: a little after it, never before.  Its clock is the machine's."""
    entries: Any = bell.xrange(stream_key(job_id))
    for entry, fields in entries:
        if fields[b"event"] == b"progress":
            return int(entry.partition(b"-")[0]) / 1000
    raise RuntimeError("the job said nothing of a step")


def _model_s(job: Mapping[str, Any]) -> float:
    return float(sum(job["timings"][part] for part in ("text_s", "denoise_s", "decode_s")))


if __name__ == "__main__":
    run("overhead", measure)
