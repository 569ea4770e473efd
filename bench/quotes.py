"""Whether quotes keep what they promise: real store, real engine, a model that sleeps, loads that nobody tuned for.

Jobs of several owners, sizes and lengths come at random; each is quoted, then queued.  Nine of ten are to finish
within the quoted p90: 85 to 95 %.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from redis import Redis

from app.jobs.queue import connect, ring
from app.jobs.quote import Quote
from app.jobs.settings import Settings
from app.jobs.spec import Params, TextToImage, resolve
from app.jobs.storage import open_storage
from app.jobs.store import Store, migrate, open_store
from bench.common import Figure, run
from bench.sleeper import ENTRY, SleepingStudio
from bench.stack import valkey
from worker.__main__ import configure_logging
from worker.consumer import Consumer

if TYPE_CHECKING:
    import models
    from worker.crew import Studio

OWNERS = ("anna", "ben", "cleo", "dora")
PIXEL_STEP_S = 1.2e-7
SPREAD = 0.25
LOADS = {"0.4 of capacity": (0.4, 1), "0.8 of capacity": (0.8, 1), "0.6 of capacity, 15 at a time": (0.6, 15)}
# The first ones have nothing to learn from.
LEARNERS = 60
SEED = 20_777


@dataclass(frozen=True, slots=True)
class Kept:
    """One job: what was quoted, and when it finished."""

    quoted: Quote
    finish_s: float


def measure(is_short: bool) -> Sequence[Figure]:
    """The share of jobs that finish within what was quoted, load by load."""
    figures: list[Figure] = []
    loads = list(LOADS.items())
    for number, (name, (share, burst)) in enumerate(loads[1:2] if is_short else loads):
        kept = _under_load(share, burst, LEARNERS + (90 if is_short else 340), SEED + number)
        figures += _figures(name, kept)
    return figures


def _figures(load: str, kept: Sequence[Kept]) -> Iterator[Figure]:
    for name, promised, goal in (
        ("p50", [each.quoted.finish.p50 for each in kept], "about 50"),
        ("p90", [each.quoted.finish.p90 for each in kept], "85 .. 95"),
    ):
        share = statistics.fmean(each.finish_s <= limit_s for each, limit_s in zip(kept, promised, strict=True))
        yield Figure(f"finished within {name}, {load}", 100 * share, "%", goal=goal)
    wide = statistics.median(each.quoted.finish.p90 / each.quoted.finish.p50 for each in kept)
    yield Figure(f"p90 / p50, {load}", wide, "x")


def _under_load(share: float, burst: int, count: int, seed: int) -> Sequence[Kept]:
    chance = random.Random(seed)
    with sleeping_service() as (store, settings):
        bell = connect(settings.resolved_redis_url)
        service_s = statistics.fmean(alone_s(store, bell, wish(chance)) for _ in range(20))
        quoted: dict[str, Quote] = {}
        due = time.monotonic()
        for number in range(count):
            if number % burst == 0:
                due += chance.expovariate(share / (service_s * burst))
                owner = chance.choices(OWNERS, (4, 2, 1, 1))[0]
            time.sleep(max(0.0, due - time.monotonic()))
            params = wish(chance)
            # The service learns every few seconds, of jobs that take as long: here, of some that take milliseconds.
            store.quotes.learn()
            place = store.quotes.of(params, owner)
            job = store.submit(params, owner)
            ring(bell)
            if place.quote is not None and number >= LEARNERS:
                quoted[job.id] = place.quote
        return [Kept(quote, finish_s(store, job_id)) for job_id, quote in quoted.items()]


@contextmanager
def sleeping_service() -> Iterator[tuple[Store, Settings]]:
    """A store, and a worker whose model sleeps for as long as each request's seed says."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    settings = Settings(data_dir=folder)
    configure_logging("error")
    migrate(settings)
    store = open_store(settings)
    storage = open_storage(settings.resolved_storage_url)
    with valkey(settings):
        consumer = Consumer(settings, store, storage, cast("Studio", SleepingStudio(ENTRY, _step_s)))
        worker = threading.Thread(target=consumer.work)
        worker.start()
        try:
            while not store.workers_alive():
                time.sleep(0.05)
            yield store, settings
        finally:
            consumer.stop()
            worker.join()
    store.close()
    shutil.rmtree(folder)


def _step_s(request: models.TextToImage) -> float:
    pixels = (request.width or 0) * (request.height or 0)
    return pixels * PIXEL_STEP_S * random.Random(request.seed).lognormvariate(0.0, SPREAD)


def wish(chance: random.Random) -> Params:
    """A wish that nobody could foresee."""
    side = chance.choice((64, 128, 192))
    asked = TextToImage(
        task="text_to_image",
        prompt="a fox",
        width=side,
        height=side,
        steps=chance.choice((4, 10, 25)),
        priority="low" if chance.random() < 0.1 else "normal",
    )
    return resolve(asked, ENTRY, chance.randrange(2**32))


def alone_s(store: Store, bell: Redis, params: Params) -> float:
    """Seconds from queued to done of a job that has the service to itself: what capacity is counted in."""
    job = store.submit(params, OWNERS[0])
    ring(bell)
    return finish_s(store, job.id)


def finish_s(store: Store, job_id: str) -> float:
    """Seconds from queued to done, once it is done."""
    while True:
        job = store.get(job_id, None)
        if job.finished_at is not None:
            return (job.finished_at - job.created_at).total_seconds()
        time.sleep(0.005)


if __name__ == "__main__":
    run("quotes", measure)
