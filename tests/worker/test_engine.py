"""The engine: one thread, steps in order, and nothing for those who no longer want it."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest
import structlog

from models import TextToImage
from tests.worker.conftest import wait_until
from tests.worker.fake_pipeline import FakePipeline, FakeRow
from worker.engine import Engine, Seconds


class Diary:
    """Work that writes down what it is told; unwanted after `patience` looks."""

    def __init__(
        self,
        pipeline: FakePipeline,
        patience: int = 1000,
        owner: str = "alice",
        is_low: bool = False,
        **request: object,
    ) -> None:
        self.pipeline = pipeline
        self.request = TextToImage(**({"prompt": "x", "width": 16, "height": 16, "num_steps": 2} | request))
        self.owner = owner
        self.is_low = is_low
        self.step_cost = float(self.request.width * self.request.height)
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
    work = Diary(broken, prompt="bug")
    assert develop(engine, work) == ["failed: the fake pipeline has a bug"]
    assert develop(engine, Diary(broken))[-1] == "completed"


def test_after_the_loss_of_the_device_nothing_more_is_developed() -> None:
    lost: list[Exception] = []
    pipeline = FakePipeline()
    engine = Engine(1, lambda: None, is_lost=lambda error: pipeline.is_lost, on_lost=lost.append)
    engine.start()
    broken, next_work = Diary(FakePipeline(), prompt="bug"), Diary(pipeline, prompt="lost")
    assert develop(engine, broken) == ["failed: the fake pipeline has a bug"]
    engine.submit(next_work)
    assert engine.stop(60)
    assert [str(error) for error in lost] == ["CUDA error: device-side assert triggered"]
    assert next_work.pages == []


def test_works_in_hand_share_steps_and_each_is_told_of_its_own_rows() -> None:
    pipeline = FakePipeline()
    engine = Engine(4, on_room=lambda: None)
    works = [Diary(pipeline, prompt="a", num_images=2, num_steps=3), Diary(pipeline, prompt="b", num_images=2)]
    for work in works:
        engine.submit(work)
    encode_all_before_the_first_step(engine)
    assert all(work.is_over.wait(60) for work in works)
    assert [sorted(prompts) for prompts in pipeline.shared] == [["a", "a", "b", "b"]] * 2 + [["a", "a"]]
    assert [page for page in works[1].pages if page[0] == "stepped"] == [("stepped", 2, [0, 1]), ("stepped", 4, [0, 1])]


def encode_all_before_the_first_step(engine: Engine) -> None:
    """Start the encoder first, and the engine when there is nothing left to encode."""
    engine._errands.start()
    wait_until(lambda: engine._inbox.qsize() == len(engine.in_hand), "works that are encoded")
    engine._thread.start()


@pytest.mark.parametrize(("culprit", "says"), [("bug", "pipeline has a bug"), ("oom", "device is full")])
def test_whose_fault_it_is_is_found_out_and_the_others_go_on(culprit: str, says: str) -> None:
    pipeline = FakePipeline()
    engine = Engine(4, on_room=lambda: None)
    works = [Diary(pipeline, prompt=prompt) for prompt in ("a", culprit, "b", "c")]
    for work in works:
        engine.submit(work)
    encode_all_before_the_first_step(engine)
    assert all(work.is_over.wait(60) for work in works)
    ends = [work.pages[-1] for work in works]
    assert ends == ["completed", f"failed: the fake {says}", "completed", "completed"]
    # Every row of the others took each of its steps once.
    for work in (works[0], works[2], works[3]):
        assert [page[1] for page in work.pages if page[0] == "stepped"] == [1, 2]


def test_a_step_too_large_for_the_memory_is_taken_by_fewer_rows_and_logged_and_counted() -> None:
    pipeline = FakePipeline(memory_rows=3)
    engine = Engine(8, on_room=lambda: None)
    works = [Diary(pipeline, num_images=4, num_steps=3) for _ in range(2)]
    for work in works:
        engine.submit(work)
    with structlog.testing.capture_logs() as logs:
        encode_all_before_the_first_step(engine)
        assert all(work.is_over.wait(60) for work in works)
    assert [work.pages[-1] for work in works] == ["completed"] * 2
    assert {len(prompts) for prompts in pipeline.shared} == {2}
    shrunk = [entry for entry in logs if entry["event"] == "engine.shrunk"]
    assert [(entry["rows"], entry["size"], entry["times"]) for entry in shrunk] == [(8, 4, 1), (4, 2, 2)]
    assert engine.buckets.times_shrunk == 2


def test_a_picture_lost_to_nan_fails_its_own_work_only() -> None:
    pipeline = FakePipeline()
    engine = Engine(4, on_room=lambda: None)
    works = [Diary(pipeline, prompt=prompt) for prompt in ("a", "nan", "b")]
    for work in works:
        engine.submit(work)
    encode_all_before_the_first_step(engine)
    assert all(work.is_over.wait(60) for work in works)
    assert [str(work.pages[-1]).split(":")[0] for work in works] == ["completed", "failed", "completed"]


def test_a_text_is_encoded_while_others_step_and_joins_at_the_next_step() -> None:
    pipeline = FakePipeline(step_s=0.02)
    engine = start(max_rows=2)
    first, second = Diary(pipeline, prompt="a", num_steps=40), Diary(pipeline, prompt="b")
    engine.submit(first)
    wait_until(lambda: len(pipeline.shared) >= 2, "two steps")
    engine.submit(second)
    assert second.is_over.wait(60)
    assert not first.is_over.is_set()
    assert pipeline.threads == {"encoder", "engine"}
    assert first.is_over.wait(60)


def test_a_text_that_cannot_be_encoded_fails_its_own_work_only(engine: Engine) -> None:
    pipeline = FakePipeline()
    assert develop(engine, Diary(pipeline, prompt="refuse")) == ["failed: the fake pipeline does not like the text"]
    assert develop(engine, Diary(pipeline))[-1] == "completed"


def test_one_image_at_most_is_decoded_between_two_steps() -> None:
    diary: list[str] = []

    class Watched(FakePipeline):
        def step(self, rows: Sequence[FakeRow]) -> None:
            super().step(rows)
            diary.append("step")

        def finish(self, row: FakeRow) -> np.ndarray:
            diary.append("decode")
            return super().finish(row)

    pipeline = Watched()
    engine = Engine(4, on_room=lambda: None)
    works = [Diary(pipeline, num_images=3, num_steps=1), Diary(pipeline, num_steps=5)]
    for work in works:
        engine.submit(work)
    encode_all_before_the_first_step(engine)
    assert all(work.is_over.wait(60) for work in works)
    assert diary == ["step", "decode"] * 3 + ["step"] * 2 + ["decode"]


def test_what_is_in_hand_says_how_many_images_are_still_to_be_made(engine: Engine) -> None:
    pipeline = FakePipeline()
    work = Diary(pipeline, prompt="wait", num_images=2)
    seen: list[int] = []
    work.developed = lambda row, pixels: seen.append(engine.in_hand[work])  # type: ignore[method-assign]
    engine.submit(work)
    assert engine.in_hand == {work: 2}
    pipeline.gate.set()
    assert work.is_over.wait(60)
    assert seen == [2, 1]
    wait_until(lambda: engine.in_hand == {}, "an empty hand")


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
    work = Diary(pipeline, prompt="wait")
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
    work = Diary(pipeline, prompt="wait")
    engine.submit(work)
    assert not engine.stop(0.1)
    pipeline.gate.set()
    assert engine.stop(60)


def test_an_engine_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows must be at least 1, got 0"):
        Engine(0, on_room=lambda: None)
