"""The judge of enlargements: what is the same is infinitely near, and filters are what they always were."""

import numpy as np
import pytest
from PIL import Image

from models import RequestError
from models.evaluation.super_resolution import judge_super_resolution, likeness, shrunk
from models.training.details import draw_detail
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([draw_detail(seed, STAGES["c"], 64, "held_out", texture_share=0.5)[0] for seed in range(4)])


def test_the_truth_is_like_itself_and_noise_is_less_so_the_more_there_is(pictures: np.ndarray) -> None:
    small = shrunk(pictures, 4)
    same = likeness(pictures, pictures, small)
    assert same.psnr == float("inf")
    assert same.ssim == pytest.approx(1.0)
    assert same.consistency <= 0.5
    noise = np.random.default_rng(0).normal(0, 1, pictures.shape)
    less, more = (
        likeness(np.clip(np.rint(pictures + std * noise), 0, 255).astype(np.uint8), pictures, small) for std in (4, 16)
    )
    assert less.psnr > more.psnr
    assert less.ssim > more.ssim
    assert less.psnr == pytest.approx(20 * np.log10(255 / 4), abs=1.0)


def test_filters_are_pillows_and_consistent_enlargements_are(pictures: np.ndarray) -> None:
    upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
    lines: list[str] = []
    found = judge_super_resolution(upscaler, pictures[:2], report=lines.append)
    assert list(found) == ["model", "model, consistent", "bicubic", "lanczos"]
    small = shrunk(pictures[:2], 4)
    bicubic = np.stack([np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in small])
    assert found["bicubic"] == likeness(bicubic, pictures[:2], small)
    assert found["model, consistent"].consistency <= 1.0
    assert found["model"].psnr < found["bicubic"].psnr, "it was never trained"
    assert lines[-1] == "enlarged 2 of 2"


def test_sides_that_do_not_shrink_and_models_that_do_not_enlarge_are_refused(pictures: np.ndarray) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        shrunk(pictures[:, :62], 4)
    with pytest.raises(RequestError, match="needs an upscaler"):
        judge_super_resolution(small_pipeline(), pictures[:1], report=lambda _: None)
