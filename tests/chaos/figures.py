"""The promises that have a number: `python -m tests.chaos.figures [rerun] [cancels] [redis]`.

rerun    how long after its worker was killed a job runs again, with the waits that everybody gets: at most 25 s
cancels  500 cancels at random moments: no picture afterwards, the device free within 1 s (the 95th percentile)
redis    Redis does not answer for 60 s: every wish is accepted, and 30 s after its return nothing waits
"""

import asyncio
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import structlog

from app.supervisor.launcher import Launcher
from tests.chaos.client import JOBS, Client
from tests.chaos.folders import quick_folder
from tests.chaos.oracle import TERMINAL, violations
from tests.chaos.plan import Scale, scale_of
from tests.chaos.stack import WORKERS, Stack

CANCELS = 500
CANCELS_AT_ONCE = 4
DOWN_S = 60.0
LOOK_S = 0.05

QUIET = replace(scale_of(60), dropped_rings=0.0)
WISH = {"task": "text_to_image", "width": 64, "height": 64}

Measure = Callable[[Stack, Client], Awaitable[bool]]


async def rerun(stack: Stack, client: Client) -> bool:
    """Kill whoever has the job, five times."""
    waits_s = []
    for _ in range(5):
        job_id = await client.submit(WISH | {"prompt": "long", "steps": 1000, "num_images": 4})
        before = await until(client, job_id, lambda job: job["state"] == "running")
        (holder,) = [name for name in WORKERS if job_id in stack.said_by(name)]
        stack.kill(holder)
        killed = time.monotonic()
        await until(client, job_id, lambda job, then=before: is_another_run(job, then))
        waits_s.append(time.monotonic() - killed)
        await client.cancel(job_id)
    print(f"rerun: a killed worker's job runs again after {', '.join(f'{wait_s:.1f}' for wait_s in waits_s)} s")
    return max(waits_s) <= 25


def is_another_run(job: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether the job runs, and not as it did before."""
    return bool(job["state"] == "running" and job["started_at"] != before["started_at"])


async def cancels(stack: Stack, client: Client) -> bool:
    """Cancel a few jobs at a time, each at a random moment of its life."""
    dice, waits_s, places = random.Random(1), list[float](), asyncio.Semaphore(CANCELS_AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            wish = WISH | {"prompt": f"picture {number}", "steps": dice.randint(10, 100), "seed": number}
            job_id = await client.submit(wish)
            await asyncio.sleep(dice.uniform(0, 1.5))
            asked = time.monotonic()
            await client.cancel(job_id)
            job = await until(client, job_id, lambda job: job["state"] in TERMINAL)
            if job["state"] == "cancelled":
                waits_s.append(time.monotonic() - asked)

    await asyncio.gather(*map(one, range(CANCELS)))
    evidence = await client.gather()
    await asyncio.sleep(stack.scale.tidy_s * 3)
    wrong = violations(evidence, stack.files)
    ended = sum(job["state"] == "succeeded" for job in evidence.jobs.values())
    p95 = statistics.quantiles(waits_s, n=20)[-1]
    print(f"cancels: {len(waits_s)} cancelled, {ended} too late")
    print(f"         free after {statistics.median(waits_s):.2f} s (median), {p95:.2f} s (95th percentile)")
    print("".join(f"  VIOLATION {each}\n" for each in wrong), end="")
    return not wrong and p95 <= 1


async def redis(stack: Stack, client: Client) -> bool:
    """Let Redis hang: to whoever speaks to it that is worse than a refusal."""
    redis_id = stack.process_id("valkey")
    await client.submit(WISH | {"prompt": "before", "steps": 4})
    os.kill(redis_id, signal.SIGSTOP)
    started = time.monotonic()
    while time.monotonic() - started < DOWN_S:
        await client.submit(WISH | {"prompt": "meanwhile", "steps": 10})
        await asyncio.sleep(0.2)
    os.kill(redis_id, signal.SIGCONT)
    waiting = sum(job["state"] not in TERMINAL for job in await client.look())
    drained_s = await client.until_all_have_ended(60)
    errors = {answer: times for answer, times in client.answers.items() if answer not in ("200", "202")}
    print(f"redis: {len(client.evidence.accepted)} accepted, other answers {errors}; {waiting} waited at its return")
    print(f"       and had ended after {drained_s:.1f} s")
    return not errors and drained_s <= 30


async def until(client: Client, job_id: str, condition: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """Look at the job until it is so."""
    while True:
        job: Mapping[str, Any] = (await client.insist(f"{JOBS}/{job_id}")).json()
        if condition(job):
            return job
        await asyncio.sleep(LOOK_S)


MEASURES: Mapping[str, tuple[Measure, Scale]] = {
    "rerun": (rerun, replace(QUIET, waits={"lease_s": 15.0, "beat_s": 5.0, "sweep_s": 5.0})),
    "cancels": (cancels, QUIET),
    "redis": (redis, replace(QUIET, waits={"lease_s": 15.0, "beat_s": 5.0, "sweep_s": 5.0})),
}


async def measure(name: str) -> bool:
    """Start the stack, measure, end it."""
    work, scale = MEASURES[name]
    folder = quick_folder("darkroom-chaos-")
    stack = Stack(folder, scale, seed=0)
    with closing(stack.listener):
        async with Launcher(lambda text: None) as launcher:
            await stack.start(launcher)
            client = Client(stack.url)
            is_kept = await work(stack, client)
            await client.close()
    shutil.rmtree(folder)
    return is_kept and not client.faults


def main(names: Sequence[str]) -> int:
    """Measure these, or everything; 0 if every promise is kept."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    kept = [asyncio.run(measure(name)) for name in names or MEASURES]
    print("every promise is kept" if all(kept) else "a promise is NOT kept")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
