"""A worker process and how it ends: killed, asked to stop, hung. Whatever happens, a job is published once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rq.command import send_shutdown_command

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import State
from tests.worker.conftest import PATIENCE_S, Service, wait_until
from worker.watchdog import EXIT_HUNG

SCRIPT = Path(__file__).with_name("run_fake_worker.py")


@dataclass
class Process:
    """A worker process and what it has said so far."""

    popen: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> int:
        return self.popen.wait(PATIENCE_S)

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def start_process(service: Service, entry: CatalogueEntry, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts worker processes and waits until they are ready."""
    started: list[Process] = []
    (tmp_path / "entry.json").write_text(entry.model_dump_json())

    def start(step_s: float, *, hung_after_s: float | None = None, **settings: object) -> Process:
        said = service.settings.model_dump(exclude_unset=True) | settings
        environment = {f"DARKROOM_{name.upper()}": str(value) for name, value in said.items() if value is not None}
        options = [] if hung_after_s is None else [str(hung_after_s)]
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, SCRIPT, tmp_path / "entry.json", str(step_s), *options],
                env=os.environ | environment,
                stdout=output,
                stderr=output,
            )
        process = Process(popen, log)
        started.append(process)
        wait_until(lambda: "worker.ready" in process.said() or popen.poll() is not None, "a ready worker")
        assert popen.poll() is None, process.said()
        return process

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()


def is_in_the_middle(service: Service, job_id: str) -> bool:
    progress = service.job(job_id).progress
    return 0 < progress.step < progress.steps


def test_a_job_whose_worker_is_killed_runs_again_and_is_published_once(
    service: Service, start_process: Callable[..., Process]
) -> None:
    process = start_process(0.1)
    job_id = service.submit(steps=10, num_images=2)
    # In the middle: the first image is written already, the second is not.
    wait_until(lambda: len(service.files_of(job_id)) == 2, "the first image of the job")
    process.popen.kill()
    process.wait()
    start_process(0.001)
    job = service.wait_for(job_id)
    assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 2, 1)
    assert [image.index for image in job.images] == [0, 1]
    assert all(image.key.startswith(f"{job_id}/2-") for image in job.images)
    assert len(service.store.images("local").items) == 2


def test_sigterm_lets_the_running_job_finish(service: Service, start_process: Callable[..., Process]) -> None:
    process = start_process(0.1)
    job_id = service.submit(steps=10)
    wait_until(lambda: is_in_the_middle(service, job_id), "a job in the middle")
    waiting = service.submit()
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert service.job(job_id).state is State.SUCCEEDED
    assert service.job(waiting).state is State.QUEUED


@pytest.mark.parametrize("step_s", [0.2, 30.0], ids=["many steps to go", "a step without end"])
def test_sigterm_gives_back_what_cannot_finish_in_time_and_burns_no_attempt(
    service: Service, start_process: Callable[..., Process], step_s: float
) -> None:
    process = start_process(step_s, shutdown_s=1)
    job_id = service.submit(steps=1000)
    service.wait_for(job_id, State.RUNNING)
    started = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert time.monotonic() - started < 10
    job = service.job(job_id)
    assert (job.state, job.attempt - job.infra_failures, job.losses) == (State.QUEUED, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_no_time_to_finish(
    service: Service, start_process: Callable[..., Process], number: signal.Signals
) -> None:
    process = start_process(0.1, shutdown_s=600)
    job_id = service.submit(steps=1000)
    service.wait_for(job_id, State.RUNNING)
    process.popen.send_signal(number)
    wait_until(lambda: "worker.draining" in process.said(), "a worker that drains")
    assert process.popen.poll() is None
    process.popen.send_signal(number)
    assert process.wait() == 0
    job = service.job(job_id)
    assert (job.state, job.attempt - job.infra_failures, job.losses) == (State.QUEUED, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_stops_at_once_and_is_gone_from_the_catalogue(
    service: Service, start_process: Callable[..., Process], number: signal.Signals
) -> None:
    process = start_process(0.0, sweep_s=60)
    assert len(service.store.workers_alive()) == 1
    started = time.monotonic()
    process.popen.send_signal(number)
    assert process.wait() == 0
    assert time.monotonic() - started < 10
    assert service.store.workers_alive() == []


def test_a_hung_step_ends_the_process_and_only_its_own_job_is_charged(
    service: Service, start_process: Callable[..., Process]
) -> None:
    process = start_process(0.0, hung_after_s=2)
    job_id = service.submit(prompt="hang")
    waiting = service.submit()
    assert process.wait() == EXIT_HUNG
    assert service.job(job_id).state is State.RUNNING
    assert (service.job(waiting).state, service.job(waiting).attempt) == (State.QUEUED, 0)


def test_a_lost_device_ends_the_process_before_another_job_is_spoilt(
    service: Service, start_process: Callable[..., Process]
) -> None:
    process = start_process(0.0)
    ids = [service.submit(prompt=prompt) for prompt in ("a red cat", "lost", "a red cat")]
    assert process.wait() == EXIT_HUNG
    assert "device.lost" in process.said()
    # What was made before is published, what was being made is left to its lease, what waited is untouched.
    assert [service.job(job_id).state for job_id in ids] == [State.SUCCEEDED, State.RUNNING, State.QUEUED]
    assert [service.job(job_id).attempt for job_id in ids] == [1, 1, 0]


def test_a_worker_for_tests_is_there_within_a_second(start_process: Callable[..., Process]) -> None:
    # The processor's time, and the best of several: the code is measured, not the machine's day.
    assert min(seconds_of(start_process(0.0).popen.pid) for _ in range(3)) < 1


def seconds_of(process_id: int) -> float:
    """The time that the processor has spent on a process."""
    user, system = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_rq_can_tell_a_worker_to_shut_down(service: Service, start_process: Callable[..., Process]) -> None:
    process = start_process(0.0)
    (worker,) = service.store.workers_alive()
    wait_until(lambda: service.redis.pubsub_numsub(f"rq:pubsub:{worker.name}")[0][1] == 1, "a worker that hears")
    send_shutdown_command(service.redis, worker.name)
    assert process.wait() == 0
