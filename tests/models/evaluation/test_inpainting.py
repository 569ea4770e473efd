"""The judge of inpainting sees whether the mask holds what was asked for, and whether anything else was touched."""

import numpy as np
import pytest

from models.evaluation.inpainting import judge_inpainting, replacements, seam, verdict
from models.evaluation.prompt_following import Judge
from models.training.pictures import render
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline

STAGE = STAGES["a"]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(STAGE, 64)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_real_patch_is_right_and_fits(judge: Judge, split: str) -> None:
    cases = replacements(STAGE, split, 60, 64)  # type: ignore[arg-type]
    results = np.stack([np.where(case.mask[..., None], render(case.wanted, 64), case.picture) for case in cases])
    found = verdict(judge, cases, results)
    assert found.fills.share >= 0.95
    assert found.untouched.share == 1.0
    assert abs(found.seam - found.seam_real) <= 0.5


def test_what_was_there_before_is_wrong(judge: Judge) -> None:
    cases = replacements(STAGE, "train", 60, 64)
    found = verdict(judge, cases, np.stack([case.picture for case in cases]))
    assert found.fills.share <= 0.05
    assert found.untouched.share == 1.0


def test_one_pixel_outside_the_mask_is_noticed_and_a_patch_that_does_not_fit_has_a_seam(judge: Judge) -> None:
    cases = replacements(STAGE, "train", 4, 64)
    results = np.stack([np.where(case.mask[..., None], 255 - case.picture, case.picture) for case in cases])
    row, column = np.argwhere(~cases[0].mask)[0]
    results[0, row, column, 0] ^= 1
    found = verdict(judge, cases, results)
    assert (found.untouched.hits, found.untouched.trials) == (3, 4)
    assert found.seam > 3 * found.seam_real


def test_a_seam_is_the_mean_step_across_the_edge() -> None:
    picture, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.bool_)
    mask[2:5, 3:6] = True
    picture[mask] = 30
    assert seam(picture, mask) == 30.0
    picture[0] = 200  # beyond the edge nothing counts
    assert seam(picture, mask) == 30.0


def test_an_untrained_model_fills_nothing_and_touches_nothing() -> None:
    pipeline = small_pipeline(in_channels=9)
    lines: list[str] = []
    found = judge_inpainting(pipeline, STAGE, Judge(STAGE, 32), split="train", count=4, report=lines.append)
    assert found.fills.share <= 0.5
    assert found.untouched.share == 1.0
    assert lines == ["inpainted 4 of 4"]
