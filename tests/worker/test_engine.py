"""The engine: one thread, steps in order, and nothing for those who no longer want it."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from models import TextToImage
from tests.worker.conftest import wait_until
from tests.worker.fake_pipeline import FakePipeline, FakeRow
from worker.engine import Engine, Seconds


class Diary:
    """Work that writes down what it is told; unwanted after `patience` looks."""

    def __init__(self, pipeline: FakePipeline, patience: int = 1000, **request: object) -> None:
        self.pipeline = pipeline
        self.request = TextToImage(prompt="x", width=16, height=16, **({"num_steps": 2} | request))
        self.patience = patience
        self.pages: list[object] = []
        self.seconds: Seconds | None = None
        self.is_over = threading.Event()

    def is_wanted(self) -> bool:
        self.patience -= 1
        return self.patience >= 0

    def stepped(self, rows: Sequence[FakeRow], batch: Sequence[FakeRow]) -> None:
        self.pages.append(("stepped", sum(row.step for row in rows), [row.index for row in batch]))

    def developed(self, row: FakeRow, pixels: np.ndarray) -> None:
        self.pages.append(("developed", row.index, pixels.shape))

    def completed(self, seconds: Seconds) -> None:
        self.seconds = seconds
        self._end("completed")

    def dropped(self) -> None:
        self._end("dropped")

    def failed(self, error: Exception) -> None:
        self._end(f"failed: {error}")

    def _end(self, how: str) -> None:
        self.pages.append(how)
        self.is_over.set()


@pytest.fixture
def engine() -> Engine:
    return start(max_rows=1)


def start(max_rows: int) -> Engine:
    engine = Engine(max_rows, on_room=lambda: None)
    engine.start()
    return engine


def develop(engine: Engine, work: Diary) -> list[object]:
    engine.submit(work)
    assert work.is_over.wait(60)
    return work.pages


def test_images_are_developed_one_after_the_other_and_handed_on_as_they_are_done(engine: Engine) -> None:
    assert develop(engine, Diary(FakePipeline(), num_images=2)) == [
        ("stepped", 1, [0]),
        ("stepped", 2, [0]),
        ("developed", 0, (16, 16, 3)),
        ("stepped", 3, [1]),
        ("stepped", 4, [1]),
        ("developed", 1, (16, 16, 3)),
        "completed",
    ]


def test_a_step_takes_as_many_images_as_pay_on_the_device() -> None:
    pages = develop(start(max_rows=2), Diary(FakePipeline(), num_images=3, num_steps=1))
    assert [page[2] for page in pages if page[0] == "stepped"] == [[0, 1], [2]]


def test_work_that_is_no_longer_wanted_takes_no_further_step(engine: Engine) -> None:
    # It is looked at before the text is encoded, and before every step.
    assert develop(engine, Diary(FakePipeline(), patience=0)) == ["dropped"]
    assert develop(engine, Diary(FakePipeline(), patience=3, num_steps=9)) == [
        ("stepped", 1, [0]),
        ("stepped", 2, [0]),
        "dropped",
    ]


def test_work_that_is_unwanted_between_two_images_is_not_completed(engine: Engine) -> None:
    pages = develop(engine, Diary(FakePipeline(), patience=3, num_images=2))
    assert pages[-2:] == [("developed", 0, (16, 16, 3)), "dropped"]


def test_a_pipeline_that_raises_ends_its_own_work_only(engine: Engine) -> None:
    broken = FakePipeline()
    work = Diary(broken)
    work.request = TextToImage(prompt="bug", width=16, height=16, num_steps=2)
    assert develop(engine, work) == ["failed: the fake pipeline has a bug"]
    assert develop(engine, Diary(broken))[-1] == "completed"


def test_after_the_loss_of_the_device_nothing_more_is_developed() -> None:
    lost: list[Exception] = []
    pipeline = FakePipeline()
    engine = Engine(1, lambda: None, is_lost=lambda error: pipeline.is_lost, on_lost=lost.append)
    engine.start()
    broken, next_work = Diary(FakePipeline()), Diary(pipeline)
    broken.request = TextToImage(prompt="bug", width=16, height=16, num_steps=2)
    assert develop(engine, broken) == ["failed: the fake pipeline has a bug"]
    next_work.request = TextToImage(prompt="lost", width=16, height=16, num_steps=2)
    engine.submit(next_work)
    assert engine.stop(60)
    assert [str(error) for error in lost] == ["CUDA error: device-side assert triggered"]
    assert next_work.pages == []


def test_seconds_are_counted_where_they_were_spent(engine: Engine) -> None:
    work = Diary(FakePipeline(step_s=0.05), num_images=2)
    develop(engine, work)
    assert work.seconds is not None
    assert work.seconds.denoise_s >= 0.2
    assert 0 < work.seconds.text_s < 0.2
    assert work.seconds.decode_s > 0
    assert engine.slowest_step_s >= engine.row_step_s >= 0.05


def test_the_time_of_an_image_is_its_share_of_the_step() -> None:
    engine = start(max_rows=4)
    develop(engine, Diary(FakePipeline(step_s=0.2), num_images=4, num_steps=1))
    assert 0.05 <= engine.row_step_s <= engine.slowest_step_s / 4


def test_room_is_told_when_it_is_there() -> None:
    seen: list[bool] = []
    engine = Engine(1, on_room=lambda: seen.append(engine.is_busy))
    engine.start()
    assert not engine.is_busy
    work = Diary(FakePipeline())
    engine.submit(work)
    wait_until(lambda: bool(seen), "room")
    assert seen == [False]


def test_the_engine_is_busy_from_the_submission_to_the_end_of_the_work(engine: Engine) -> None:
    pipeline = FakePipeline()
    work = Diary(pipeline)
    work.request = TextToImage(prompt="wait", width=16, height=16, num_steps=2)
    engine.submit(work)
    assert engine.is_busy
    pipeline.gate.set()
    assert work.is_over.wait(60)
    wait_until(lambda: not engine.is_busy, "an idle engine")


def test_every_stage_is_a_sign_of_life(engine: Engine) -> None:
    develop(engine, Diary(FakePipeline(), num_steps=3))
    # The work itself, its text, three steps, one picture.
    assert engine.signs_of_life == 6


def test_the_engine_stops_after_what_was_submitted(engine: Engine) -> None:
    work = Diary(FakePipeline(step_s=0.01), num_steps=10)
    engine.submit(work)
    assert engine.stop(60)
    assert work.pages[-1] == "completed"


def test_a_stuck_engine_says_that_it_has_not_stopped(engine: Engine) -> None:
    pipeline = FakePipeline()
    work = Diary(pipeline)
    work.request = TextToImage(prompt="wait", width=16, height=16, num_steps=2)
    engine.submit(work)
    assert not engine.stop(0.1)
    pipeline.gate.set()
    assert engine.stop(60)


def test_an_engine_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows must be at least 1, got 0"):
        Engine(0, on_room=lambda: None)
