"""Scenes: a seed gives the same scene anywhere, splits keep apart, and things stay apart and inside."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import combinations

import pytest

from models.training.domain import SPLITS, Scene, Stage, is_held_out
from models.training.scenes import draw_scene
from models.training.stages import STAGES

NUM_SCENES = 2500
STAGE_NAMES = tuple(STAGES)
DIGEST = """
from hashlib import sha256
from models.training.domain import SPLITS
from models.training.scenes import draw_scene
from models.training.stages import STAGES
choices = [(seed, stage, split) for stage in STAGES.values() for split in SPLITS for seed in range(60)]
scenes = [draw_scene(*choice) for choice in choices]
print(sha256(repr(scenes).encode()).hexdigest())
"""


@cache
def drawn(name: str, split: str = "train") -> list[Scene]:
    return [draw_scene(seed, STAGES[name], split) for seed in range(NUM_SCENES)]  # type: ignore[arg-type]


def pairs_of(scene: Scene) -> set[tuple[str, str]]:
    names = {item.thing.name for item in scene.items} | {scene.backdrop.name}
    return {(first, second) for first, second in combinations(sorted(names), 2)}


def test_another_process_draws_the_same_scenes():
    scenes = [draw_scene(seed, stage, split) for stage in STAGES.values() for split in SPLITS for seed in range(60)]
    here = sha256(repr(scenes).encode()).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_stage_a_stays_what_the_bundled_model_was_trained_on():
    told = "\n".join(scene.caption for split in SPLITS for scene in drawn("a", split)[:500])
    assert sha256(told.encode()).hexdigest()[:16] == "bddf7f026e479764"


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_seeds_splits_and_stages_give_other_scenes(name: str):
    stage = STAGES[name]
    assert len({repr(scene) for scene in drawn(name)[:300]}) == 300
    assert draw_scene(0, stage, "train") != draw_scene(0, stage, "held_out")
    assert draw_scene(0, stage, "train") != draw_scene(0, replace(stage, name="other"), "train")


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_training_never_shows_a_held_out_pair(name: str):
    assert not any(is_held_out(*pair) for scene in drawn(name) for pair in pairs_of(scene))


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_held_out_scenes_always_show_a_held_out_pair(name: str):
    for scene in drawn(name, "held_out"):
        assert any(is_held_out(*pair) for pair in pairs_of(scene))


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_training_shows_every_thing_every_backdrop_and_every_layout(name: str):
    stage, scenes = STAGES[name], drawn(name)
    assert {item.thing.name for scene in scenes for item in scene.items} == {thing.name for thing in stage.things}
    assert {scene.backdrop.name for scene in scenes} == {backdrop.name for backdrop in stage.backdrops}
    assert {scene.layout for scene in scenes} == set(stage.layouts)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", STAGE_NAMES)
def test_things_lie_inside_the_picture_and_apart_from_each_other(name: str, split: str):
    for scene in drawn(name, split):
        for item in scene.items:
            assert 0 <= item.x0 < item.x1 <= 1
            assert 0 <= item.y0 < item.y1 <= 1
        for one, other in combinations(scene.items, 2):
            apart_across = one.x1 <= other.x0 or other.x1 <= one.x0
            apart_down = one.y1 <= other.y0 or other.y1 <= one.y0
            assert apart_across or apart_down, scene


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_sizes_are_those_of_the_stage(name: str):
    for scene in drawn(name):
        for item in scene.items:
            low, high = STAGES[name].size_ranges[scene.layout][item.size_word]
            assert low - 1e-9 <= max(item.x1 - item.x0, item.y1 - item.y0) <= high + 1e-9


def test_a_shape_is_never_hidden_on_its_own_colour():
    for scene in drawn("c"):
        assert not any(item.thing.colour in scene.backdrop.colours for item in scene.items)


def test_layouts_come_as_often_as_the_stage_says():
    stage, scenes = STAGES["c"], drawn("c")
    for layout, share in stage.layouts.items():
        # rejection of held-out pairs costs scenes of two things a little
        assert sum(scene.layout == layout for scene in scenes) / NUM_SCENES == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("seed", "split", "named"),
    [(-1, "train", "seed must not be negative, got -1"), (0, "test", "got 'test'")],
)
def test_a_wrong_seed_or_split_is_refused_by_value(seed: int, split: str, named: str):
    with pytest.raises(ValueError, match=named):
        draw_scene(seed, STAGES["a"], split)  # type: ignore[arg-type]


def test_a_stage_without_a_held_out_pair_says_so():
    a = STAGES["a"]
    pairless = Stage("tiny", a.things[:1], a.backdrops[:1], a.layouts, a.size_ranges, a.columns)
    assert draw_scene(0, pairless, "train").items[0].thing.name == "fox"
    with pytest.raises(ValueError, match="'tiny' has no scene for split 'held_out'"):
        draw_scene(0, pairless, "held_out")
