"""One run: the storm, the calm after it, and what the oracle says."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from app.supervisor.launcher import Launcher
from tests.chaos.client import Client
from tests.chaos.oracle import leftovers, violations, worker_lost
from tests.chaos.plan import Act, Plan
from tests.chaos.stack import WORKERS, Stack

CALM_S = 60.0
TIDY_PATIENCE_S = 20.0
LOOK_S = 0.1
# Less than a job takes.
GLANCE_S = 0.01
LOGGED = ("job.swept", "lease.lost", "storage.failed", "store.away", "redis.away", "queue.ring_lost", "device.lost")


class Interrupted(Exception):
    """A signal asked for the end of the run."""


@dataclass
class Report:
    """What a run came to."""

    seed: int
    counts: dict[str, object] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything was as it must be."""
        return not self.violations


async def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Report:
    """Start the stack, let the storm loose on it, wait for the calm, and judge.

    Raises: Interrupted if a signal asks for the end; everything has ended then.
    """
    stack, report = Stack(folder, plan.scale, plan.seed), Report(plan.seed)
    with closing(stack.listener):
        async with Launcher(lambda text: None) as launcher:
            await stack.start(launcher)
            weather = asyncio.create_task(_weather(plan, stack, report, say))
            asked = asyncio.create_task(launcher.until_asked_to_stop())
            await asyncio.wait({weather, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not weather.done():
                weather.cancel()
                raise Interrupted
            weather.result()
    if launcher.exit_status != 0:
        report.violations.append(f"the launcher had to kill somebody in the end (exit status {launcher.exit_status})")
    return report


async def _weather(plan: Plan, stack: Stack, report: Report, say: Callable[[str], None]) -> None:
    say(f"storm of {plan.scale.storm_s:g} s over {plan.scale.jobs} jobs")
    client = Client(stack.url)
    await _storm(plan, stack, client, say)
    say("calm")
    calm_s = await client.until_all_have_ended(CALM_S)
    evidence = await client.gather()
    await _until_tidy(stack, client)
    found = [*client.faults, *await client.strays(), *violations(evidence, stack.files)]
    report.violations = found + _unexplained(stack, client)
    _count(report, stack, client, calm_s)
    await client.close()


async def _storm(plan: Plan, stack: Stack, client: Client, say: Callable[[str], None]) -> None:
    started = time.monotonic()

    async def ask(at_s: float, wish: dict[str, object], cancelled_after_s: float | None) -> None:
        await asyncio.sleep(at_s)
        job_id = await client.submit(wish)
        if cancelled_after_s is not None:
            await asyncio.sleep(cancelled_after_s)
            await client.cancel(job_id)

    async def strike(act: Act) -> None:
        await asyncio.sleep(act.at_s)
        await _do(act, plan, stack)
        say(f"{time.monotonic() - started:6.1f} s  {act.what} {act.whom}")

    async def kill_workers() -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for name in WORKERS:
                since = stack.ready_since(name)
                if since is not None and time.monotonic() - since > plan.scale.kill_after_s:
                    stack.kill(name)

    killer = asyncio.create_task(kill_workers())
    try:
        await asyncio.gather(*(ask(*wish) for wish in plan.wishes), *(strike(act) for act in plan.faults))
    finally:
        killer.cancel()
    stack.relieve_disk()


async def _do(act: Act, plan: Plan, stack: Stack) -> None:
    """One fault, from its beginning to its end; it waits for its victim to be there."""
    match act.what:
        case "kill":
            while not stack.kill(act.whom):
                await asyncio.sleep(LOOK_S)
        case "freeze":
            while not stack.freeze(act.whom):
                await asyncio.sleep(GLANCE_S)
            await asyncio.sleep(plan.scale.frozen_s)
            stack.thaw(act.whom)
        case "flush":
            while not stack.flush():
                await asyncio.sleep(LOOK_S)
        case "fill":
            stack.fill_disk()
            await asyncio.sleep(plan.scale.full_s)
            stack.relieve_disk()
        case _:
            raise ValueError(f"what must be kill, freeze, flush or fill, got {act.what!r}")


async def _until_tidy(stack: Stack, client: Client) -> None:
    """Files are swept a little later than rows."""
    deadline = time.monotonic() + TIDY_PATIENCE_S
    while leftovers(client.evidence, stack.files) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)


def _unexplained(stack: Stack, client: Client) -> list[str]:
    """Jobs that were given up without three losses on record: that number alone no answer of the API tells."""
    given_up = worker_lost(client.evidence)
    path = stack.settings.data_dir / "darkroom.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as record:
        losses = dict(record.execute("SELECT id, losses FROM jobs"))
    return [f"job {each} was given up after {losses[each]} losses" for each in given_up if losses[each] < 3]


def _count(report: Report, stack: Stack, client: Client, calm_s: float) -> None:
    evidence = client.evidence
    accepted = [evidence.jobs[job_id] for job_id in evidence.accepted if job_id in evidence.jobs]
    said = "".join(stack.said_by(name) for name in (*WORKERS, "api"))
    logged = {event: said.count(f'"{event}"') for event in LOGGED}
    report.counts = {
        "accepted": len(evidence.accepted),
        "jobs in all": len(evidence.jobs),
        "ended as": dict(Counter(job["state"] for job in accepted)),
        "worker_lost": len(worker_lost(evidence)),
        "cancels": f"{len(evidence.cancelled)} acknowledged of {len(evidence.cancel_asked)}",
        "pictures": len(evidence.images),
        "answers": dict(client.answers),
        "killed": dict(Counter(stack.kills)),
        "logged": {event: times for event, times in logged.items() if times},
        "calm_s": round(calm_s, 1),
    }
