"""A picture in company is the picture alone: the engine with untrained networks of the real kind, in float32."""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import models.pipeline
from models import ImageToImage, Inpaint, NonFinite, Pipeline, Request, TextToImage
from models.row import Row
from tests.models.conftest import small_pipeline
from tests.worker.test_engine import encode_all_before_the_first_step
from worker.engine import Engine, Seconds

SIDE = 32
PICTURE = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
MASK = np.zeros((SIDE, SIDE), bool)
MASK[8:24, 8:24] = True


class Kept:
    """Work that keeps its rows and pictures; `spoil` is called on its rows after their first step."""

    is_low = False
    step_cost = 1.0

    def __init__(self, pipeline: Pipeline, request: Request, owner: str = "a", spoil: Any = None) -> None:
        self.pipeline = pipeline
        self.request = request
        self.owner = owner
        self.spoil = spoil
        self.latents: dict[int, torch.Tensor] = {}
        self.pictures: dict[int, np.ndarray] = {}
        self.companies: set[int] = set()
        self.error: Exception | None = None
        self.is_over = threading.Event()

    def is_wanted(self) -> bool:
        return True

    def stepped(self, rows: Sequence[Row], batch: Sequence[Row]) -> None:
        for row in batch:
            if self.spoil is not None:
                self.spoil(row)
            if row.is_done:
                self.latents[row.index] = row.latents.clone()

    def developed(self, row: Row, pixels: np.ndarray) -> None:
        self.pictures[row.index] = pixels

    def completed(self, seconds: Seconds) -> None:
        self.is_over.set()

    def dropped(self) -> None:
        raise AssertionError("it was wanted")

    def failed(self, error: Exception) -> None:
        self.error = error
        self.is_over.set()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return small_pipeline()


def develop(works: Sequence[Kept], max_rows: int) -> list[int]:
    """Develop all of it in one engine; returns how many rows each step had."""
    sizes: list[int] = []
    pipeline = works[0].pipeline
    step = Pipeline.step

    def watched(self: Pipeline, rows: Sequence[Row]) -> None:
        sizes.append(len(rows))
        step(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "step", watched)
        engine = Engine(max_rows, on_room=lambda: None)
        for work in works:
            assert work.pipeline is pipeline
            engine.submit(work)
        encode_all_before_the_first_step(engine)
        assert all(work.is_over.wait(120) for work in works)
        assert engine.stop(60)
    return sizes


def requests() -> list[Request]:
    """What may share steps, as different as it may be."""
    common: dict[str, Any] = {"prompt": "a fox in the snow", "width": SIDE, "height": SIDE}
    given = {"prompt": "a big owl at night", "image": PICTURE}
    return [
        TextToImage(**common, seed=1, num_steps=7, num_images=3, guidance_scale=3.0),
        TextToImage(**common, seed=2, num_steps=4, guidance_scale=1.0, sampler="dpmpp_2m"),
        TextToImage(**common, seed=3, num_steps=9, guidance_scale=7.5, guidance_interval=(0.25, 0.75), sampler="ddpm"),
        TextToImage(**common, seed=4, num_steps=5, negative_prompt="rain", eta=1.0, num_images=2),
        ImageToImage(**given, seed=5, num_steps=8, strength=0.6, guidance_scale=2.0),
        Inpaint(**given, mask=MASK, seed=6, num_steps=6, strength=1.0, guidance_scale=4.0),
    ]


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """In dB, of the range of what is compared."""
    error = float((one - other).square().mean())
    return math.inf if error == 0 else 10 * math.log10(float(other.max() - other.min()) ** 2 / error)


@pytest.mark.parametrize("max_rows", [2, 4, 8])
def test_rows_in_changing_company_are_what_they_are_alone(pipeline: Pipeline, max_rows: int) -> None:
    alone = [Kept(pipeline, request) for request in requests()]
    for work in alone:
        assert set(develop([work], max_rows=1)) == {1}
    together = [Kept(pipeline, request, owner=str(place)) for place, request in enumerate(requests())]
    sizes = develop(together, max_rows)
    assert max(sizes) == max_rows
    for here, there in zip(together, alone, strict=True):
        assert here.pictures.keys() == there.pictures.keys()
        for index, latents in there.latents.items():
            assert psnr(here.latents[index], latents) >= 60
            difference = here.pictures[index].astype(int) - there.pictures[index].astype(int)
            assert np.abs(difference).max() <= 1


def test_one_row_a_step_gives_the_same_bytes_whoever_else_is_in_hand(pipeline: Pipeline) -> None:
    alone = [Kept(pipeline, request) for request in requests()]
    for work in alone:
        develop([work], max_rows=1)
    together = [Kept(pipeline, request, owner=str(place % 2)) for place, request in enumerate(requests())]
    develop(together, max_rows=1)
    for here, there in zip(together, alone, strict=True):
        assert all(np.array_equal(here.pictures[index], there.pictures[index]) for index in there.pictures)
        assert all(torch.equal(here.latents[index], there.latents[index]) for index in there.latents)


def begun(pipeline: Pipeline, places: Sequence[int]) -> list[Row]:
    return [pipeline.begin(requests()[place])[0] for place in places]


def test_in_a_step_of_one_size_a_rows_bytes_do_not_depend_on_its_neighbours(pipeline: Pipeline) -> None:
    # The same place in a step with as many guided rows.
    first, second = begun(pipeline, [0, 3, 4, 5]), begun(pipeline, [0, 5, 3, 4])
    for _ in range(3):
        pipeline.step(first)
        pipeline.step(second)
    assert torch.equal(first[0].latents, second[0].latents)
    assert not torch.equal(first[1].latents, second[1].latents)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_in_one_row_leaves_the_bytes_of_its_neighbours_as_they_were(pipeline: Pipeline, value: float) -> None:
    clean, spoilt = begun(pipeline, [0, 3, 4, 5]), begun(pipeline, [0, 3, 4, 5])
    spoilt[1].latents = torch.full_like(spoilt[1].latents, value)
    for _ in range(3):
        pipeline.step(clean)
        pipeline.step(spoilt)
    assert not spoilt[1].latents.isfinite().all()
    for place in (0, 2, 3):
        assert torch.equal(clean[place].latents, spoilt[place].latents)
        assert torch.equal(clean[place].x0, spoilt[place].x0)


def test_nan_in_one_row_fails_only_its_job(pipeline: Pipeline) -> None:
    def spoil(row: Row) -> None:
        row.latents = row.latents * math.nan

    clean = [Kept(pipeline, request, owner=str(place)) for place, request in enumerate(requests())]
    works = [Kept(pipeline, request, owner=str(place)) for place, request in enumerate(requests())]
    works[1].spoil = spoil
    develop(clean, max_rows=1)
    develop(works, max_rows=8)
    assert isinstance(works[1].error, NonFinite)
    for place in (0, 2, 3, 4, 5):
        assert works[place].error is None
        for index, latents in clean[place].latents.items():
            assert psnr(works[place].latents[index], latents) >= 60


def test_a_step_that_raises_leaves_every_row_as_it_was(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, expected = begun(pipeline, [2, 3, 5]), begun(pipeline, [2, 3, 5])
    real = models.pipeline.advance

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for _ in range(3):
        # It comes after the noise was drawn, which is the last moment at which it may come.
        monkeypatch.setattr(models.pipeline, "advance", full)
        with pytest.raises(torch.OutOfMemoryError):
            pipeline.step(rows)
        monkeypatch.setattr(models.pipeline, "advance", real)
        pipeline.step(rows)
        pipeline.step(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.step == other.step == 3
        assert torch.equal(row.latents, other.latents)


def test_pictures_are_what_they_would_be_though_the_memory_is_too_small(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [Kept(pipeline, request) for request in requests()]
    for work in alone:
        develop([work], max_rows=1)
    predict = Pipeline._predict

    def small(self: Pipeline, rows: Sequence[Row], x: torch.Tensor) -> torch.Tensor:
        if len(rows) > 1:
            raise MemoryError("too many rows")
        return predict(self, rows, x)

    monkeypatch.setattr(Pipeline, "_predict", small)
    together = [Kept(pipeline, request, owner=str(place)) for place, request in enumerate(requests())]
    assert set(develop(together, max_rows=8)) == {8, 4, 2, 1}
    for here, there in zip(together, alone, strict=True):
        assert all(np.array_equal(here.pictures[index], there.pictures[index]) for index in there.pictures)
