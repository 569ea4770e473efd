"""The loaded pipelines, with a small untrained model of the real kind."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.jobs.build import installed_version
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.storage import open_storage
from app.jobs.store import State, Store, open_store
from models import Pipeline, TextToImage
from models.checkpoints.writing import save_folder
from tests.models.conftest import small_pipeline
from tests.worker.conftest import Running, wait_until
from worker import studio
from worker.consumer import Consumer
from worker.machine import NoSuchDevice, choose_device, choose_dtype
from worker.studio import NothingToServe, Studio, catalogue_entry

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small model, and one that is broken."""
    folder = tmp_path_factory.mktemp("models")
    save_folder(small_pipeline(), folder / "small", dtype=torch.float32)
    save_folder(small_pipeline(), folder / "broken", dtype=torch.float32)
    next((folder / "broken" / "unet").glob("*.safetensors")).write_bytes(b"not weights")
    return folder


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A studio sets the threads, and the arithmetic, of the whole process, which other tests share."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundled models: they take longer to load than all of these tests."""
    monkeypatch.setattr(studio, "bundled_models", list)


@pytest.fixture
def opened(settings: Settings, models_dir: Path, alone: None) -> Studio:
    return Studio.open(settings.model_copy(update={"models_dir": models_dir, "default_model": "small"}))


def test_a_studio_serves_what_can_be_loaded_and_leaves_out_the_rest(opened: Studio) -> None:
    assert [entry.name for entry in opened.entries] == ["small"]
    assert opened.pipeline("small").card.name == "small"
    with pytest.raises(KeyError):
        opened.pipeline("broken")


def test_the_pipelines_are_warm_in_every_stage(opened: Studio) -> None:
    # The map for previews is fitted at the first one, and would hold up the first job that wants one.
    with opened.pipeline("small").using() as pipeline:
        assert pipeline.latent_to_rgb is not None


def test_no_algorithm_is_chosen_by_trying_it_out(opened: Studio) -> None:
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic


def test_the_default_model_must_be_there(settings: Settings, models_dir: Path, alone: None) -> None:
    wrong = settings.model_copy(update={"models_dir": models_dir, "default_model": "broken"})
    with pytest.raises(NothingToServe, match=r"can be loaded \(small\), got 'broken'"):
        Studio.open(wrong)


def test_a_models_folder_that_does_not_exist_is_said(settings: Settings, tmp_path: Path, alone: None) -> None:
    with pytest.raises(NothingToServe, match="nowhere"):
        Studio.open(settings.model_copy(update={"models_dir": tmp_path / "nowhere"}))


def test_a_users_model_is_loaded_after_the_bundled_ones_and_so_replaces_them(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "bundled_models", lambda: ["storybook"])
    assert studio.find_sources(None) == ["storybook"]
    assert studio.find_sources(models_dir) == ["storybook", models_dir / "broken", models_dir / "small"]


def test_the_catalogue_is_told_all_that_the_card_says_but_tasks_that_no_job_can_ask_for() -> None:
    pipeline = small_pipeline()
    card = replace(
        pipeline.card,
        tasks=("text_to_image", "inpaint", "clairvoyance"),
        vocabulary={"colours": ("red", "blue")},
        examples=("a red fox",),
        licence="MIT",
    )
    pipeline.card = card
    entry = catalogue_entry(pipeline, "a chip")
    assert entry.model_dump() == {
        "name": "small",
        "revision": "unsaved",
        "tasks": ["text_to_image", "inpaint"],
        "native_width": 32,
        "native_height": 32,
        "min_side": 32,
        "max_side": 64,
        "multiple": 8,
        "samplers": ["ddim", "ddpm", "dpmpp_2m"],
        "defaults": {"steps": 5, "guidance_scale": 3.0, "sampler": "ddim"},
        "parameters": 0,
        "licence": "MIT",
        "scale": None,
        "vocabulary": {"colours": ["red", "blue"]},
        "examples": ["a red fox"],
        "fingerprint": "a chip",
    }


def test_an_enlarger_says_how_many_times() -> None:
    pipeline = small_pipeline(in_channels=7, num_class_embeds=400)
    pipeline.card = replace(pipeline.card, tasks=("super_resolution",))
    entry = catalogue_entry(pipeline, "a chip")
    assert (entry.tasks, entry.scale) == (["super_resolution"], 4)
    # and is warmed by what it is made for
    rows = pipeline.begin(studio._trial(pipeline))
    pipeline.step(rows)
    assert rows[0].class_label is not None


def test_a_model_without_a_vocabulary_says_none() -> None:
    assert catalogue_entry(small_pipeline(), "a chip").vocabulary is None


def test_the_fingerprint_names_all_that_the_bytes_depend_on(opened: Studio) -> None:
    fingerprint = opened.entries[0].fingerprint
    darkroom = f"darkroom {installed_version()}"
    for part in (f"x{torch.get_num_threads()} ", f"torch {torch.__version__}", darkroom, "float32"):
        assert part in fingerprint
    assert opened.facts["fingerprint"] == fingerprint
    assert opened.facts["pid"] == os.getpid()


def test_every_model_in_memory_has_a_measured_rate(opened: Studio) -> None:
    measured = {name: cost_s for name, cost_s in opened.facts["cost_s"].items() if cost_s is not None}
    assert set(measured) == {entry.name for entry in opened.entries}
    assert all(0 < cost_s < 0.1 for cost_s in measured.values())


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_uses_as_many_threads_as_the_settings_say(
    settings: Settings, models_dir: Path, alone: None, threads: int
) -> None:
    wanted = {"models_dir": models_dir, "default_model": "small", "threads": threads}
    assert Studio.open(settings.model_copy(update=wanted)).facts["threads"] == threads


def test_without_a_word_from_the_settings_every_cpu_that_may_be_used_is(opened: Studio) -> None:
    assert opened.facts["threads"] == len(os.sched_getaffinity(0))


def test_on_a_cpu_a_step_takes_one_image_unless_the_settings_say_otherwise(
    settings: Settings, models_dir: Path, alone: None, opened: Studio
) -> None:
    assert opened.max_rows == 1
    wanted = {"models_dir": models_dir, "default_model": "small", "max_rows": 4}
    assert Studio.open(settings.model_copy(update=wanted)).max_rows == 4


def test_steps_of_every_size_are_measured_on_the_real_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = small_pipeline()
    taken: list[int] = []
    step = Pipeline.step

    def watched(self: Pipeline, rows: list) -> None:
        taken.append(len(rows))
        step(self, rows)

    monkeypatch.setattr(Pipeline, "step", watched)
    assert studio.step_seconds(pipeline, 2) > 0
    assert taken == [2] * (studio.TRIES + 1)


def test_a_size_for_which_the_device_has_no_memory_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Pipeline, "step", full)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        studio.step_seconds(small_pipeline(), 2)


def test_auto_takes_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(NoSuchDevice, match="2 of kind cuda, got 'cuda:2'"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(NoSuchDevice, match="0 of kind cuda, got 'cuda'"):
        choose_device("cuda")


def test_a_cpu_computes_in_float32_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_dtype("auto", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    for has_bfloat16, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has_bfloat16, **_: has)
        assert choose_dtype("auto", torch.device("cuda")) is dtype


def test_too_little_memory_is_known_by_whatever_name_it_comes(opened: Studio) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert opened.is_out_of_memory(caught.value)
    assert opened.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert opened.is_out_of_memory(MemoryError())
    assert not opened.is_out_of_memory(RuntimeError("out of luck"))


def test_a_device_is_lost_when_it_answers_nothing_any_more(opened: Studio) -> None:
    error = RuntimeError("CUDA error: unspecified launch failure")
    assert not opened.is_lost(error)
    # Whatever is asked of the meta device, it has no numbers to answer with.
    assert Studio({}, torch.device("meta"), torch.float32).is_lost(error)


def test_a_device_that_is_only_full_is_not_lost(opened: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "zeros", full)
    assert not opened.is_lost(torch.OutOfMemoryError("CUDA out of memory"))


def test_a_job_of_the_real_kind_is_the_picture_that_the_library_makes(
    settings: Settings, opened: Studio, make_params: Callable[..., TextToImageParams]
) -> None:
    quick = settings.model_copy(update={"sweep_s": 0.5})
    store: Store = open_store(quick)
    storage = open_storage(quick.resolved_storage_url)
    params = make_params(prompt="a fox in the snow", width=64, height=64, steps=3, num_images=2, eta=0.5)
    small = params.model_copy(update={"model": "small", "width": 32})
    running = Running(Consumer(quick, store, storage, opened), opened.pipeline("small"))  # type: ignore[arg-type]
    wait_until(lambda: "small" in store.known_models(), "a model in the catalogue")
    job_id = store.submit(small, "local").id
    wait_until(lambda: store.get(job_id, "local").state.is_terminal, "the end of the job")
    running.stop()
    job = store.get(job_id, "local")
    assert job.state is State.SUCCEEDED, job.error
    request = TextToImage(
        prompt="a fox in the snow",
        width=32,
        height=64,
        seed=7,
        num_steps=3,
        guidance_scale=5.0,
        sampler="ddim",
        eta=0.5,
        num_images=2,
    )
    with opened.pipeline("small").using() as pipeline:
        expected = pipeline.generate(request)
    for image in job.images:
        path = storage.path(image.key)
        assert path is not None
        # Alone in its step here, beside the other there: equal but for the last bit of a sum.
        difference = np.asarray(Image.open(path)).astype(int) - expected[image.index].astype(int)
        assert np.abs(difference).max() <= 1
    assert job.model_revision == pipeline.card.revision
    store.close()
