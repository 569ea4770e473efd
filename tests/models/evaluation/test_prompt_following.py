"""The judge names real scenes rightly, and is not fooled by the wrong thing, the wrong backdrop, or noise."""

import numpy as np
import pytest

from models import Pipeline
from models.evaluation.prompt_following import Judge, Score, candidate_scenes, captioned, shrunken
from models.evaluation.report import HELD_OUT, REAL, SEEN, Drawing, by_thing, drawings, prompt_following, table
from models.training.domain import Scene
from models.training.pictures import render
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline

STAGE = STAGES["a"]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(STAGE, 64)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_real_scenes_are_named_rightly(judge: Judge, split: str) -> None:
    scenes = captioned(STAGE, split, 200)  # type: ignore[arg-type]
    verdict = judge.verdict(np.stack([render(scene, 64) for scene in scenes]), scenes)
    assert verdict.thing.share >= 0.98
    assert verdict.backdrop.share >= 0.98


def test_pictures_of_other_scenes_and_noise_are_not_taken_for_what_was_asked(judge: Judge) -> None:
    scenes = captioned(STAGE, "train", 100)
    others = captioned(STAGE, "train", 200)[100:]
    wrong = judge.verdict(np.stack([render(scene, 64) for scene in others]), scenes)
    assert wrong.thing.share < 0.3
    assert wrong.both.share < 0.1
    noise = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), dtype=np.uint8)
    assert judge.verdict(noise, scenes).both.share < 0.1


def test_every_caption_that_is_judged_names_a_backdrop_of_its_split() -> None:
    from models.training.domain import is_held_out

    for split in ("train", "held_out"):
        for scene in captioned(STAGE, split, 50):  # type: ignore[arg-type]
            held_out = is_held_out(scene.items[0].thing.name, scene.backdrop.name)
            assert held_out == (split == "held_out")


def test_an_untrained_model_scores_like_chance_and_the_table_says_so() -> None:
    pipeline: Pipeline = small_pipeline()
    lines: list[str] = []
    verdicts = prompt_following(drawings(pipeline, STAGE, count=8, report=lines.append), Judge(STAGE, 32))
    assert list(verdicts) == ["real scenes", "reconstructions", "drawn, combinations seen", "drawn, held out"]
    assert verdicts["real scenes"].both.trials == 16
    assert verdicts["drawn, held out"].both.share <= 0.25
    assert lines[-1] == "drew 8 of 8"
    assert table(verdicts).count("\n") == 5
    assert "| real scenes | 16 | " in table(verdicts)


def test_things_are_counted_one_by_one_the_best_first(judge: Judge) -> None:
    def rendered(scenes: list[Scene]) -> np.ndarray:
        return np.stack([render(scene, 64) for scene in scenes])

    seen, held_out = captioned(STAGE, "train", 30), captioned(STAGE, "held_out", 30)
    foxes = [scene for scene in seen if scene.items[0].thing.name == "fox"]
    spoilt = rendered(seen)
    spoilt[[seen.index(fox) for fox in foxes]] = 127
    rows = {REAL: Drawing(spoilt, seen), SEEN: Drawing(spoilt, seen), HELD_OUT: Drawing(rendered(held_out), held_out)}
    scores = by_thing(rows, STAGE, judge)
    assert sum(score.trials for score in scores.values()) == 60
    assert scores["fox"].trials - scores["fox"].hits == len(foxes) > 0
    assert next(iter(scores.values())).share == 1.0
    assert list(scores)[-1] == "fox"


def test_a_stage_of_many_things_is_refused() -> None:
    with pytest.raises(ValueError, match="stage 'b'"):
        candidate_scenes(STAGES["b"])


def test_the_interval_is_wilsons() -> None:
    low, high = Score(8, 10).interval  # published: 0.490 to 0.943
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert Score(0, 10).interval[0] == 0.0
    assert str(Score(190, 200)) == "95.0 % (91..97)"


def test_pictures_are_averaged_over_boxes_and_odd_sizes_refused() -> None:
    picture = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    picture[0, :2, :2] = 255
    assert shrunken(picture)[0, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert shrunken(picture).sum() == 3.0
    with pytest.raises(ValueError, match="multiples of 32"):
        shrunken(np.zeros((1, 60, 64, 3), dtype=np.uint8))
