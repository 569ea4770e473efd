"""Developed, then enlarged in the same request."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import ModelError, Pipeline, RequestError, Row, SuperResolution, TextToImage, load_pipeline
from models.checkpoints.writing import save_folder
from tests.models.conftest import small_pipeline

REQUEST = TextToImage(prompt="a fox in the snow", seed=7, num_steps=2, num_images=2, upscale=4)


@pytest.fixture
def upscaling(pipeline: Pipeline) -> Pipeline:
    pipeline.upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize("upscale", [2, 4])
def test_each_image_is_the_enlargement_of_the_picture_that_its_seed_develops(upscaling: Pipeline, upscale: int) -> None:
    large = upscaling.generate(replace(REQUEST, upscale=upscale))
    assert large.shape == (2, 32 * upscale, 32 * upscale, 3)
    assert upscaling.upscaler is not None
    for index, small in enumerate(upscaling.generate(replace(REQUEST, upscale=1))):
        expected = upscaling.upscaler.generate(
            SuperResolution(image=small, prompt=REQUEST.prompt, scale=upscale, seed=7 + index)
        )
        assert np.array_equal(large[index], expected[0])


def test_the_steps_of_both_models_are_heard(upscaling: Pipeline) -> None:
    heard: list[tuple[int, int]] = []

    def hear(step: int, rows: Sequence[Row]) -> None:
        heard.append((step, len(rows)))

    upscaling.generate(REQUEST, on_step=hear)
    default_steps = 5
    assert heard == [(1, 2), (2, 2)] + 2 * [(step + 1, 1) for step in range(default_steps)]


def test_what_cannot_be_enlarged_is_refused_before_the_first_step(upscaling: Pipeline) -> None:
    with pytest.raises(RequestError, match="upscale must be 2 or 4, got 3"):
        upscaling.begin(replace(REQUEST, upscale=3))
    upscaling.upscaler = None
    with pytest.raises(RequestError, match="upscale must be 1, since the pipeline has no upscaler, got 4"):
        upscaling.begin(REQUEST)


@pytest.mark.slow
def test_an_upscaler_is_loaded_beside_a_model_and_written_as_diffusers_has_it(
    tmp_path: Path, upscaling: Pipeline
) -> None:
    assert upscaling.upscaler is not None
    save_folder(upscaling, tmp_path / "small", dtype=torch.float32)
    save_folder(upscaling.upscaler, tmp_path / "larger", dtype=torch.float32)
    loaded = load_pipeline(tmp_path / "small", upscaler=tmp_path / "larger")
    ours, theirs = loaded.generate(REQUEST), upscaling.generate(REQUEST)
    # weights in a file are aligned otherwise than weights in memory
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    with pytest.raises(ModelError, match="small enlarges no pictures: give an upscaler"):
        load_pipeline(tmp_path / "small", upscaler=tmp_path / "small")
