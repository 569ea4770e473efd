"""What grows with the service and should not: answers beside many rows, submits to a long queue, watchers, memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from app.jobs.events import publish_progress
from app.jobs.queue import connect
from bench.common import Figure, quantile, run
from bench.rows import NOBODY, make_images, queue_jobs
from bench.stack import Stack, sleeper, stack

WISH = {"task": "text_to_image", "prompt": "a fox in the snow", "steps": 1}


def measure(is_short: bool) -> Sequence[Figure]:
    """Latencies at every size, and the memory that jobs leave behind."""
    pictures = (100, 100_000) if is_short else (100, 1_000, 10_000, 100_000, 1_000_000)
    queues = (10, 1_000) if is_short else (10, 100, 1_000, 10_000)
    watchers = (1, 100) if is_short else (1, 10, 100, 500)
    figures: list[Figure] = []
    with stack(None, DARKROOM_MAX_QUEUED_JOBS="100000") as service, httpx2.Client(timeout=60) as client:
        figures += [each for count in pictures for each in _beside_images(service, client, count)]
        figures += [each for count in watchers for each in _watched(service, client, count)]
        figures += [_enqueue(service, client, count) for count in queues]
    with stack(sleeper) as service:
        figures += _memory(service, 200 if is_short else 1_000)
    return figures


def _beside_images(service: Stack, client: httpx2.Client, count: int) -> Iterator[Figure]:
    make_images(service, count)
    newest = client.get(f"{service.url}/api/v1/images?limit=1").json()["items"][0]
    for name, path in (
        ("list of images", "images?limit=20"),
        ("list of images, from the middle", f"images?limit=20&cursor={count // 2 + 1}"),
        ("search of images", "images?limit=20&q=snow%20fox%20steps:>5"),
        ("list of jobs", "jobs?limit=20"),
        ("one job", f"jobs/{newest['job_id']}"),
    ):
        times_ms = _repeated_ms(partial(client.get, f"{service.url}/api/v1/{path}"), 60)
        goal = "<= 50" if "images" in name else ""
        yield Figure(f"{name} beside {count:,} images, p95", quantile(times_ms, 0.95), "ms", min(times_ms), goal=goal)


def _enqueue(service: Stack, client: httpx2.Client, count: int) -> Figure:
    service.store.worker_beat(NOBODY, {})
    queue_jobs(service, count)
    times_ms = _repeated_ms(lambda: service.submit(client, WISH), 60)
    return Figure(f"submit while {count:,} wait, p95", quantile(times_ms, 0.95), "ms", min(times_ms), max(times_ms))


def _watched(service: Stack, client: httpx2.Client, count: int) -> Iterator[Figure]:
    """How soon all of so many watchers hear of a step, and how soon others are answered meanwhile."""
    job_id = service.submit(client, WISH)
    heard_ms, answered_ms = asyncio.run(_hear(service, job_id, count))
    yield Figure(f"a step heard by {count} watchers, p95", quantile(heard_ms, 0.95), "ms", min(heard_ms), max(heard_ms))
    yield Figure(f"one job beside {count} watchers, p95", quantile(answered_ms, 0.95), "ms", min(answered_ms))
    service.store.cancel(job_id, None)


async def _hear(service: Stack, job_id: str, count: int) -> tuple[list[float], list[float]]:
    address = urlsplit(service.url)
    path = f"/api/v1/jobs/{job_id}/events"
    question = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(question)
        await reader.readuntil(b"event: state")
        streams.append((reader, writer))
    bell = connect(service.settings.resolved_redis_url)
    heard_ms: list[float] = []
    for step in range(5):
        told = time.perf_counter()
        publish_progress(bell, job_id, step, 5, 0, None)
        # Written before all of them have heard: the slowest of each step is what counts.
        await asyncio.gather(*(reader.readuntil(b"event: progress") for reader, _ in streams))
        heard_ms.append(1000 * (time.perf_counter() - told))
    async with httpx2.AsyncClient(timeout=60) as client:
        answered_ms = []
        for _ in range(40):
            asked = time.perf_counter()
            await client.get(f"{service.url}/api/v1/jobs/{job_id}")
            answered_ms.append(1000 * (time.perf_counter() - asked))
    for _, writer in streams:
        writer.close()
    return heard_ms, answered_ms


def _memory(service: Stack, count: int) -> Iterator[Figure]:
    """What the second half of the jobs adds to the memory of either process."""

    def ask(_: int) -> None:
        with httpx2.Client(timeout=120) as client:
            service.result(client, service.submit(client, WISH))

    sizes: list[Mapping[str, float]] = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            list(pool.map(ask, range(count // 2)))
            sizes.append({"API": _resident_mb(service.api_id), "worker": _resident_mb(service.worker_id)})
    for process in sizes[0]:
        grown = sizes[1][process] - sizes[0][process]
        yield Figure(f"memory of the {process} after {count // 2} more jobs", grown, "MB", goal="<= 20")


def _resident_mb(process_id: int) -> float:
    words = Path(f"/proc/{process_id}/statm").read_text().split()
    return int(words[1]) * 4096 / 1e6


def _repeated_ms(work: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of `count` times, after three that do not count."""
    found = []
    for _ in range(count + 3):
        started = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - started))
    return found[3:]


if __name__ == "__main__":
    run("growth", measure)
