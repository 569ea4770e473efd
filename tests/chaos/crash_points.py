"""Every point at which a process may die, one after the other.

    python -m tests.chaos.crash_points [--lane 1/2] [NAME...]

First a small scenario runs undisturbed, and the points that the API and the worker come to are written down. Then
it runs again for each of them, and the process dies there (or is told nothing about its commit); it is started
again, the scenario goes on to its end, and the oracle judges what came of it.

A lane is a share of the points, so that several processes may go through them. Children are forked off this
process, which has imported everything and never runs a thread: they are there at once.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.actors import PATIENCE_S, Scene, api_process, fork, told, worker_process  # isort: skip  # keeps torch out

import sqlalchemy as sa
from redis import Redis

from app.jobs.settings import Settings
from app.jobs.spec import TextToImage, resolve
from app.jobs.storage import image_key, open_storage, thumbnail_key
from app.jobs.store import migrate, open_store
from app.jobs.tables import jobs
from tests.chaos.folders import quick_folder
from tests.chaos.hooks import CRASHED, Hooks
from tests.chaos.oracle import Evidence, leftovers, violations, worker_lost
from tests.chaos.plan import ENTRY
from tests.conftest import Valkey

# Who sweeps first, and so who rings, is a matter of chance.
TRIES = 5


def build(folder: Path) -> None:
    """A service that knows a model, and in which a worker was lost with two jobs, one of them cancelled."""
    settings = Settings(data_dir=folder / "data")
    migrate(settings)
    store, storage = open_store(settings), open_storage(settings.resolved_storage_url)
    store.register_model("lost", ENTRY)
    store.worker_left("lost")
    wish = TextToImage.model_validate({"task": "text_to_image", "prompt": "abandoned", "num_images": 2})
    for _ in range(2):
        store.submit(resolve(wish, ENTRY, seed=9), "local")
        claim = store.claim_next("lost", [ENTRY.name])
        assert claim is not None
        storage.put(image_key(claim.job_id, 1, 0, "png"), b"of a lost attempt")
        storage.put(thumbnail_key(claim.job_id, 1, 0, 256), b"of a lost attempt")
        (settings.data_dir / "files" / claim.job_id / "1-1.png.tmp").write_bytes(b"half of a lost att")
    store.cancel(claim.job_id, "local")
    engine = sa.create_engine(settings.resolved_database_url)
    with engine.begin() as connection:
        connection.execute(sa.update(jobs).values(lease_until=0.0))
    (folder / "cancelled").write_text(claim.job_id)
    engine.dispose()
    store.close()


@contextmanager
def scene(template: Path, valkey: Valkey) -> Iterator[Scene]:
    """A fresh copy of what `build` made, with an empty Valkey."""
    redis = Redis.from_url(valkey.url)
    redis.flushall()
    redis.close()
    folder = quick_folder("darkroom-crash-")
    shutil.copytree(template, folder, dirs_exist_ok=True)
    waits = {"lease_s": 1.2, "beat_s": 0.1, "sweep_s": 0.1, "backoff_s": 0.05, "max_backoff_s": 0.1, "shutdown_s": 5}
    yield Scene(folder, Settings(data_dir=folder / "data", redis_url=valkey.url, max_infra_failures=1, **waits))
    shutil.rmtree(folder)


def play(scene: Scene, hooks: Mapping[str, Hooks]) -> list[str]:
    """Run the scenario to its end; a process that dies at its point is started again, without one.

    Returns what the oracle has against it, or what went wrong before.
    """
    work = {"api": api_process, "worker": worker_process}
    log = scene.folder / "log"

    def start(role: str, with_hooks: Hooks) -> int:
        return fork(lambda: work[role](scene, with_hooks), log)

    processes = {role: start(role, hooks.get(role, Hooks())) for role in work}
    faults: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while not faults and not scene.result.exists():
        for role, process_id in processes.items():
            ended, status = os.waitpid(process_id, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
            if ended and code == CRASHED:
                processes[role] = start(role, Hooks())
            elif ended and (role, code) != ("api", 0):
                faults.append(f"the {role} ended with {code}:\n{log.read_text()[-3000:]}")
                del processes[role]
                break
        if time.monotonic() > deadline:
            faults.append(f"there was no end within {PATIENCE_S:g} s:\n{log.read_text()[-3000:]}")
        time.sleep(0.005)
    if not faults:
        evidence = evidence_of(scene)
        # Files are swept a little later than rows.
        while leftovers(evidence, scene.files) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(processes["worker"], signal.SIGTERM)
        faults = violations(evidence, scene.files)
        faults += [f"job {job_id} was given up" for job_id in worker_lost(evidence)]
    for process_id in processes.values():
        end(process_id)
    return faults


def end(process_id: int) -> None:
    """Wait for the end of a child for a while, and then make it."""
    deadline = time.monotonic() + 5
    with_force = False
    while True:
        try:
            ended, _ = os.waitpid(process_id, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            return
        if time.monotonic() > deadline and not with_force:
            os.kill(process_id, signal.SIGKILL)
            with_force = True
        time.sleep(0.005)


def evidence_of(scene: Scene) -> Evidence:
    """What the client was answered, and how the API tells it in the end."""
    answers = list(told(scene))
    result = json.loads(scene.result.read_text())
    before = (scene.folder / "cancelled").read_text()
    return Evidence(
        accepted={job_id: {} for what, job_id in answers if what.startswith("accepted")},
        cancel_asked={before} | {job_id for what, job_id in answers if what == "cancel asked"},
        cancelled={before} | {job_id for what, job_id in answers if what == "cancelled"},
        jobs={job["id"]: job for job in result["jobs"]},
        images=result["images"],
        contents={image_id: bytes.fromhex(data) for image_id, data in result["contents"].items()},
    )


# All of it


def points(template: Path, valkey: Valkey) -> list[tuple[str, str]]:
    """Every (role, point) that the scenario comes to when nothing disturbs it."""
    with scene(template, valkey) as undisturbed:
        visited = {role: undisturbed.folder / f"{role}.points" for role in ("api", "worker")}
        faults = play(undisturbed, {role: Hooks(visited=str(path)) for role, path in visited.items()})
        if faults:
            raise AssertionError("the undisturbed scenario fails:\n" + "\n".join(faults))
        return [(role, name) for role, path in visited.items() for name in path.read_text().splitlines()]


def die_at(template: Path, valkey: Valkey, role: str, name: str) -> list[str]:
    """Run the scenario with a process that dies at this point; returns what is wrong afterwards."""
    for _ in range(TRIES):
        with scene(template, valkey) as disturbed:
            visited = disturbed.folder / "points"
            faults = play(disturbed, {role: Hooks(crash_at=name, visited=str(visited))})
            if faults or name in visited.read_text().splitlines():
                return faults
    return [f"the {role} never came there, in {TRIES} tries"]


def is_in_lane(name: str, lane: str) -> bool:
    """Whether this point belongs to the lane, `2/3` being the second of three."""
    number, _, lanes = lane.partition("/")
    return zlib.crc32(name.encode()) % int(lanes) == int(number) - 1


def main(arguments: Sequence[str]) -> int:
    """Die at every point of the lane whose name holds one of the words; 0 if nothing was lost by it."""
    parser = ArgumentParser("python -m tests.chaos.crash_points", description="Die at every point, one by one.")
    parser.add_argument("--lane", default="1/1")
    parser.add_argument("words", nargs="*", default=[""])
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    valkey = Valkey(folder)
    valkey.start()
    template = folder / "template"
    try:
        template.mkdir()
        end(fork(lambda: build(template), folder / "log"))
        failed = tried = 0
        for role, name in points(template, valkey):
            line = f"{role}: {name}"
            if not is_in_lane(line, asked.lane) or not any(word in line for word in asked.words):
                continue
            started = time.monotonic()
            faults = die_at(template, valkey, role, name)
            print(f"{'FAILED' if faults else 'ok':6} {line} ({time.monotonic() - started:.1f} s)", flush=True)
            for fault in faults:
                print(f"         {fault}", flush=True)
            tried += 1
            failed += bool(faults)
        print(f"{tried} points, {failed} failed")
        return 1 if failed else 0
    finally:
        valkey.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
