"""Several models in one worker with room for one: the real service, with untrained networks of the real kind."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from app.jobs.failures import ErrorCode
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.store import Job, State, open_store
from models import survey_model
from models.networks.unet import UNet
from tests.e2e.tiny_model import SIDE, save_tiny_model
from tests.worker.conftest import Running, Service, wait_until
from worker import residency, studio
from worker.consumer import Consumer
from worker.studio import NothingToServe, Studio

NAMES = ("atlas", "bestiary", "cosmos")
STEPS = 16
THREADS = torch.get_num_threads()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three models of one size."""
    folder = tmp_path_factory.mktemp("shelf")
    for name in NAMES:
        save_tiny_model(folder / name)
    return folder


@pytest.fixture(scope="module")
def size_bytes(shelf: Path) -> int:
    """What one of them takes in memory."""
    return survey_model(shelf / "atlas").numbers * 4


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the bundled models; and with the threads that the other tests have."""
    monkeypatch.setattr(studio, "bundled_models", list)
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture
def quick(settings: Settings, shelf: Path, size_bytes: int) -> Settings:
    """Room for one model, and short waits."""
    waits = {"lease_s": 30.0, "beat_s": 0.2, "sweep_s": 0.5, "backoff_s": 0.05, "max_backoff_s": 0.1, "threads": 1}
    models = {"models_dir": shelf, "default_model": "atlas", "model_memory": float(size_bytes)}
    return settings.model_copy(update=waits | models)


@pytest.fixture
def start(service: Service) -> Iterator[Callable[..., Studio]]:
    """Starts a worker that opens its studio; it is stopped, and must stop, when the test ends."""
    running: list[Running] = []

    def begin(**changes: Any) -> Studio:
        settings = service.settings.model_copy(update=changes)
        opened = Studio.open(settings)
        consumer = Consumer(settings, open_store(settings), service.storage, opened)
        running.append(Running(consumer, opened.pipeline("atlas")))  # type: ignore[arg-type]
        wait_until(lambda: len(service.store.known_models()) == len(opened.entries), "the catalogue")
        return opened

    yield begin
    for worker in running:
        worker.stop()


@pytest.fixture
def submit(service: Service) -> Callable[..., str]:
    """Queues a job for a model."""

    def queue(model: str, owner: str = "local", **fields: Any) -> str:
        params: TextToImageParams = service.params(prompt="a red ball", width=SIDE, height=SIDE)
        return service.store.submit(params.model_copy(update={"model": model} | fields), owner).id

    return queue


def job(service: Service, job_id: str, owner: str = "local") -> Job:
    return service.wait_for(job_id, owner=owner)


def test_a_model_for_which_there_is_no_room_yet_is_brought_in_when_a_job_needs_it(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str]
) -> None:
    opened = start()
    assert opened.residency.here == ("atlas",)
    for name in ("bestiary", "cosmos", "atlas"):
        made = job(service, submit(name))
        assert (made.state, made.attempt) == (State.SUCCEEDED, 1), made.error
        assert opened.residency.here == (name,)
        assert opened.residency.held_bytes <= opened.residency.budget_bytes
    wait_until(lambda: [worker.loaded for worker in service.store.workers_alive()] == [("atlas",)], "a beat")
    assert [worker.models for worker in service.store.workers_alive()] == [NAMES]


def test_as_many_models_as_there_is_room_for_are_warm_from_the_start(
    service: Service, start: Callable[..., Studio], size_bytes: int
) -> None:
    opened = start(model_memory=2.0 * size_bytes, default_model="bestiary")
    assert opened.residency.here == ("atlas", "bestiary")


def test_a_model_larger_than_the_budget_is_left_out(quick: Settings, size_bytes: int) -> None:
    with pytest.raises(NothingToServe, match="there is none"):
        Studio.open(quick.model_copy(update={"model_memory": size_bytes - 1.0}))


def test_rows_in_flight_lose_nothing_when_their_model_has_to_make_way(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residency, "WORTH_LOADING", 0.0)
    opened = start()
    # so many that another model is brought in meanwhile
    alone = job(service, submit("atlas", steps=10 * STEPS, sampler="ddpm"))
    long = submit("atlas", steps=10 * STEPS, sampler="ddpm")
    wait_until(lambda: service.job(long).progress.step > 0, "the first steps")
    other = job(service, submit("bestiary", "somebody else", steps=2), "somebody else")
    assert other.state is State.SUCCEEDED, other.error
    made = job(service, long)
    assert (made.state, made.attempt) == (State.SUCCEEDED, 1)
    assert other.finished_at is not None
    assert made.finished_at is not None
    assert other.finished_at < made.finished_at
    assert opened.residency.here == ("atlas",)
    assert made.images[0].sha256 == alone.images[0].sha256


def test_a_crowd_for_the_loaded_model_does_not_starve_a_job_for_another(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residency, "WORTH_LOADING", 0.5)
    start()
    crowd = [submit("atlas", "crowd", steps=4) for _ in range(100)]
    job(service, crowd[0], "crowd")
    single = job(service, submit("bestiary", "single", steps=2), "single")
    assert single.state is State.SUCCEEDED
    left = [job_id for job_id in crowd if not service.job(job_id, "crowd").state.is_terminal]
    assert len(left) > 10
    for job_id in left[1:]:
        service.store.cancel(job_id, "crowd")
    # and the crowd goes on after that
    assert job(service, left[0], "crowd").state is State.SUCCEEDED


def test_jobs_of_one_owner_are_made_by_model_and_not_in_turns(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = studio._load_warm

    def watched(source: Path, *rest: Any) -> Any:
        loads.append(Path(source).name)
        return load(source, *rest)

    monkeypatch.setattr(studio, "_load_warm", watched)
    jobs = [submit(NAMES[number % 2]) for number in range(12)]
    start()
    assert {job(service, job_id).state for job_id in jobs} == {State.SUCCEEDED}
    assert len(loads) <= 4


def living_networks() -> set[int]:
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, UNet)}


def test_a_model_that_was_let_go_leaves_nothing_behind(quick: Settings) -> None:
    others = living_networks()
    opened = Studio.open(quick)
    for number in range(6):
        opened.pipeline(NAMES[number % 3]).bring()
    assert len(living_networks() - others) == 1


def test_a_model_that_cannot_be_loaded_fails_its_own_jobs_and_no_others(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str], shelf: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shelf"
    shutil.copytree(shelf, folder)
    start(models_dir=folder)
    weights = next((folder / "bestiary" / "unet").glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    running = submit("atlas", "a", steps=STEPS)
    for _ in range(2):
        broken = job(service, submit("bestiary", "b"), "b")
        assert broken.state is State.FAILED
        assert broken.error is not None
        assert broken.error.code == ErrorCode.MODEL_BROKEN
    made = job(service, running, "a")
    assert (made.state, made.attempt) == (State.SUCCEEDED, 1)
    weights.write_bytes(whole)
    assert job(service, submit("bestiary")).state is State.SUCCEEDED


def test_a_model_that_is_not_what_the_catalogue_says_any_more_is_not_used(
    service: Service, start: Callable[..., Studio], submit: Callable[..., str], shelf: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shelf"
    shutil.copytree(shelf, folder)
    start(models_dir=folder)
    card = folder / "bestiary" / "darkroom.json"
    card.write_text(card.read_text().replace('"revision": "', '"revision": "0'))
    changed = job(service, submit("bestiary"))
    assert changed.error is not None
    assert changed.error.code == ErrorCode.MODEL_BROKEN
