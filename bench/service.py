"""The service under load, as it runs, with the bundled model: clients that wait in turn, and strangers who do not.

`ideal` is the model alone at its best batch, in this process, between the rounds of the service; both have as many
threads.  Nothing else may be as fast, so a share of it is what the service reaches.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2
import torch

from app.jobs.queue import connect
from bench.common import Figure, quantile, run, spread
from bench.overhead import first_step_at
from bench.stack import Stack, stack
from models import Pipeline, TextToImage, load_pipeline

PROMPT, STEPS = "a fox in the snow", 10
WISH = {"task": "text_to_image", "prompt": PROMPT, "steps": STEPS}
CLIENTS = (1, 4, 16, 32)
LOADS = (0.3, 0.6, 0.9, 1.2)
SEED = 31


def measure(is_short: bool) -> Sequence[Figure]:
    """Images a second as a share of ideal, client by client; waits under Poisson loads."""
    rounds = 3 if is_short else 7
    clients = CLIENTS[2:3] if is_short else CLIENTS
    loads = LOADS[1:2] if is_short else LOADS
    alone = load_pipeline("storybook", device="cpu", dtype=torch.float32)
    figures: list[Figure] = []
    with stack(DARKROOM_THREADS=str(torch.get_num_threads())) as service:
        _closed(service, 2, 4)  # warm
        best = max((1, 2, 4), key=lambda size: _ideal_rate(alone, size))
        for count in clients:
            shares, rates = [], []
            for _ in range(rounds):
                ideal = _ideal_rate(alone, best)
                rates.append(_closed(service, count, max(2 * count, 8)))
                # What ideal was while the service ran is between what it was before and after.
                shares.append(rates[-1] / statistics.fmean((ideal, _ideal_rate(alone, best))))
            goal = ">= 0.9" if count == 16 else ""
            figures.append(spread(f"throughput / ideal, {count} clients", shares, "x", goal))
            figures.append(spread(f"throughput, {count} clients", rates, "images/s"))
        capacity = _closed(service, 1, 10)
        for share in loads:
            figures += _open(service, share, capacity * share, 20 if is_short else 80)
    return figures


def _ideal_rate(pipeline: Pipeline, size: int, count: int = 6) -> float:
    """Images a second of the model alone, `size` of them in a step."""
    rounds = -(-count // size)
    started = time.perf_counter()
    for number in range(rounds):
        pipeline.generate(TextToImage(prompt=PROMPT, seed=number, num_steps=STEPS, num_images=size))
    return rounds * size / (time.perf_counter() - started)


def _closed(service: Stack, clients: int, count: int) -> float:
    """Images a second when so many clients make `count` images, each asking again once it has its own."""
    left = threading.Semaphore(count)

    def ask() -> None:
        with httpx2.Client(timeout=300) as client:
            while left.acquire(blocking=False):
                service.result(client, service.submit(client, WISH))

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for asked in [pool.submit(ask) for _ in range(clients)]:
            asked.result()
    return count / (time.perf_counter() - started)


def _open(service: Stack, share: float, rate: float, count: int) -> list[Figure]:
    """Seconds from the POST to the first step when jobs come by chance, at this share of serial capacity."""
    chance, bell = random.Random(SEED), connect(service.settings.resolved_redis_url)
    posted: dict[str, float] = {}
    due = time.monotonic()
    with httpx2.Client(timeout=300) as client:
        for _ in range(count):
            due += chance.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.time()
            posted[service.submit(client, WISH)] = now
        for job_id in posted:
            service.result(client, job_id)
    waits_s = [first_step_at(bell, job_id) - at for job_id, at in posted.items()]
    return [
        Figure(f"POST to first step at {share:g} of capacity, {name}", quantile(waits_s, part), "s")
        for name, part in (("p50", 0.5), ("p95", 0.95))
    ]


if __name__ == "__main__":
    run("service", measure)
