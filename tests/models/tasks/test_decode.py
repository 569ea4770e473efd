"""The estimates on the way, as pictures: the last one is the picture."""

from typing import Any

import numpy as np
import pytest
import torch

from models import Decode, ImageToImage, Inpaint, Pipeline, RequestError, SuperResolution, TextToImage
from tests.models.conftest import small_pipeline

PICTURE = np.random.default_rng(1).integers(0, 256, (30, 26, 3), dtype=np.uint8)
MASK = np.zeros((30, 26), bool)
MASK[8:20, 8:20] = True
COMMON: dict[str, Any] = {"prompt": "a fox in the snow", "seed": 3, "num_steps": 3}


@pytest.mark.parametrize(
    "request_of_task",
    [
        TextToImage(**COMMON),
        ImageToImage(image=PICTURE, **COMMON),
        Inpaint(image=PICTURE, mask=MASK, feather=2, **COMMON),
    ],
)
def test_the_last_estimate_is_the_picture_finished_as_its_task_does(pipeline: Pipeline, request_of_task: Any) -> None:
    kept: list[torch.Tensor] = []
    picture = pipeline.generate(request_of_task, on_step=lambda step, rows: kept.append(rows[0].x0))
    decoded = [pipeline.generate(Decode(of=request_of_task, x0=x0))[0] for x0 in kept]
    assert np.abs(decoded[-1].astype(int) - picture[0]).max() <= 1
    assert not np.array_equal(decoded[0], decoded[-1])


def test_an_estimate_of_an_enlargement_needs_only_the_size_of_what_was_enlarged_but_for_its_colours() -> None:
    upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
    kept: list[torch.Tensor] = []
    asked = SuperResolution(image=PICTURE, scale=2, num_steps=2, keep_colours=False)
    picture = upscaler.generate(asked, on_step=lambda step, rows: kept.append(rows[0].x0))
    nothing = SuperResolution(image=np.zeros_like(PICTURE), scale=2, num_steps=2, keep_colours=False)
    decoded = upscaler.generate(Decode(of=nothing, x0=kept[-1]))
    assert np.abs(decoded[0].astype(int) - picture[0]).max() <= 1


def test_an_estimate_of_another_shape_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(RequestError, match=r"x0 must have the shape \(4, 8, 8\), got \(4, 8, 9\)"):
        pipeline.begin(Decode(of=TextToImage(**COMMON), x0=torch.zeros(4, 8, 9)))
