"""The domain: what the stages hold, and the rule that keeps combinations out of training."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import pytest

from models.training.backdrops import BACKDROPS, COLOURS
from models.training.domain import Thing, is_held_out
from models.training.landscapes import LANDSCAPES
from models.training.objects import EMOJI
from models.training.shapes import SHAPE_COLOURS, SHAPES
from models.training.sprites import original
from models.training.stages import STAGES

STAGE_NAMES = tuple(STAGES)


def test_the_stages_widen_from_12_to_64_to_more_than_150_emoji():
    emoji = {name: [thing for thing in stage.things if thing.glyph] for name, stage in STAGES.items()}
    assert (len(emoji["a"]), len(emoji["b"])) == (12, 64)
    assert len(emoji["c"]) > 150
    assert emoji["b"][:12] == emoji["a"]
    assert emoji["c"][:64] == emoji["b"]


def test_stage_a_places_single_things_in_three_columns_and_three_sizes():
    stage = STAGES["a"]
    assert tuple(stage.layouts) == ("single",)
    assert len(stage.columns) == 3
    ranges = sorted(stage.size_ranges["single"].values())
    assert len(ranges) == 3
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert ranges[0][0] >= 0.45
    assert ranges[-1][1] <= 0.70


def test_only_stage_c_knows_coloured_shapes_and_relations():
    shapes = [thing for thing in STAGES["c"].things if thing.shape]
    assert len(shapes) == len(SHAPES) * len(SHAPE_COLOURS)
    assert not any(thing.shape for thing in STAGES["a"].things + STAGES["b"].things)
    assert [name for name, stage in STAGES.items() if "relation" in stage.layouts] == ["c"]


def test_no_two_things_share_a_name_a_synonym_or_a_glyph():
    names = Counter(name for thing in STAGES["c"].things for name in thing.names)
    glyphs = Counter(thing.glyph for thing in EMOJI)
    assert [name for name, count in names.items() if count > 1] == []
    assert [glyph for glyph, count in glyphs.items() if count > 1] == []
    assert all(len(thing.glyph) == 1 for thing in EMOJI)


def test_every_thing_has_a_picture_of_its_own():
    pictures = {original(thing).tobytes() for thing in STAGES["c"].things}
    assert len(pictures) == len(STAGES["c"].things)


def test_a_thing_the_font_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match="'nothing'"):
        original(Thing("nothing", " "))


def test_every_backdrop_can_be_painted():
    for backdrop in BACKDROPS:
        if backdrop.colours:
            assert set(backdrop.colours) <= set(COLOURS), backdrop.name
        else:
            assert backdrop.name in LANDSCAPES
    assert set(LANDSCAPES) <= {backdrop.name for backdrop in BACKDROPS}


def test_about_one_pair_in_ten_is_held_out_whatever_its_order():
    names = [thing.name for thing in STAGES["c"].things] + [backdrop.name for backdrop in BACKDROPS]
    pairs = list(combinations(names, 2))
    assert sum(is_held_out(*pair) for pair in pairs) / len(pairs) == pytest.approx(0.10, abs=0.01)
    assert all(is_held_out(first, second) == is_held_out(second, first) for first, second in pairs[:2000])


def test_the_held_out_pairs_of_stage_a_stay_what_they_are():
    stage = STAGES["a"]
    pairs = {(t.name, b.name) for t in stage.things for b in stage.backdrops if is_held_out(t.name, b.name)}
    assert pairs == {
        ("owl", "sea"),
        ("frog", "sea"),
        ("panda", "pink"),
        ("penguin", "white"),
        ("penguin", "yellow"),
        ("apple", "desert"),
        ("mushroom", "blue"),
        ("sunflower", "desert"),
        ("rocket", "pink"),
        ("sailboat", "night"),
        ("sailboat", "snow"),
    }


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_thing_and_every_backdrop_keeps_most_of_its_combinations_in_training(name: str):
    stage = STAGES[name]
    for thing in stage.things:
        kept = sum(not is_held_out(thing.name, backdrop.name) for backdrop in stage.backdrops)
        assert kept >= 0.6 * len(stage.backdrops), thing.name
    for backdrop in stage.backdrops:
        kept = sum(not is_held_out(thing.name, backdrop.name) for thing in stage.things)
        assert kept >= 0.6 * len(stage.things), backdrop.name
