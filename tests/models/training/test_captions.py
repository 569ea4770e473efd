"""Captions: what they say is so. They are read here by a reader that shares no code with the grammar."""

from __future__ import annotations

import re
from functools import cache

import pytest

from models.training.captions import plural_of, with_article
from models.training.domain import Backdrop, Item, Scene
from models.training.scenes import draw_scene
from models.training.stages import STAGES

NUM_SCENES = 1500
STAGE_NAMES = tuple(STAGES)
COUNTS = {"one": 1, "two": 2, "three": 3}
SMALL, BIG = {"small", "little"}, {"big", "large"}


@cache
def drawn(name: str) -> list[Scene]:
    return [draw_scene(seed, STAGES[name], "train") for seed in range(NUM_SCENES)]


@cache
def words_of(backdrop: Backdrop) -> frozenset[str]:
    """Whatever a caption may call a backdrop; nouns also without their article."""
    bare = {re.sub(r"^(a|an|the) ", "", noun) for noun in backdrop.nouns}
    return frozenset({*backdrop.phrases, *backdrop.nouns, *bare})


def things_said(scene: Scene) -> str:
    """The caption without the words for the backdrop."""
    said = scene.caption
    for words in sorted(words_of(scene.backdrop), key=len, reverse=True):
        said, found = re.subn(rf"(^|(?<= )){words}(?=$|[ ,])", "", said, count=1)
        if found:
            break
    return " ".join(said.replace(",", " ").split())


@cache
def names_known(stage_name: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """Whatever things are called, singular and plural, and the thing's name or shape that each stands for."""
    called: dict[str, str] = {}
    for thing in STAGES[stage_name].things:
        for name in (*thing.names, *((thing.shape,) if thing.shape else ())):
            target = thing.shape if name == thing.shape else thing.name
            plural = thing.plural if thing.plural and name == thing.name else plural_of(name)
            called[name] = called[plural] = target
    longest_first = sorted(called, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b"), called


def mentions(said: str, stage_name: str) -> list[tuple[int, str]]:
    """Every thing named, in order: where, and the thing's name or shape."""
    pattern, called = names_known(stage_name)
    return [(match.start(), called[match[0]]) for match in pattern.finditer(said)]


def is_called(item: Item, target: str) -> bool:
    return target in (item.thing.name, item.thing.shape)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_captions_name_exactly_the_things_in_the_scene(name: str):
    for scene in drawn(name):
        named = [target for _, target in mentions(things_said(scene), name)]
        kinds = list({item.thing.name: item for item in scene.items}.values())
        assert len(named) == len(kinds), scene.caption
        for item in kinds:
            assert any(is_called(item, target) for target in named), scene.caption


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_counts_said_are_the_numbers_of_things(name: str):
    counted = 0
    for scene in drawn(name):
        numbers = [COUNTS[word] for word in scene.caption.split() if word in COUNTS]
        assert numbers == ([len(scene.items)] if scene.layout in COUNTS else []), scene.caption
        counted += bool(numbers)
    assert (counted > 0) == any(layout in COUNTS for layout in STAGES[name].layouts)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_sizes_said_are_those_of_the_thing_they_stand_before(name: str):
    seen = set()
    for scene in drawn(name):
        said = things_said(scene)
        for start, target in mentions(said, name):
            before = said[:start].split()
            item = next(item for item in scene.items if is_called(item, target))
            word = before[-1] if before else ""
            if len({i.thing.shape for i in scene.items}) < len({i.thing.name for i in scene.items}):
                continue  # two shapes of one form, of which "a big star" does not say which
            if word in SMALL | BIG:
                assert item.size_word == ("small" if word in SMALL else "big"), scene.caption
                seen.add(word)
    assert seen == SMALL | BIG


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_places_said_of_a_single_thing_are_where_it_is(name: str):
    seen = set()
    for scene in (scene for scene in drawn(name) if scene.layout in ("single", "one")):
        x, y = scene.items[0].centre
        # a top hat is nowhere near the top
        said = names_known(name)[0].sub("", things_said(scene))
        words = set(said.split()) & {"left", "right", "middle", "centre", "top", "bottom"}
        truths = {"left": x < 0.4, "right": x > 0.6, "top": y < 0.3, "bottom": y > 0.7}
        centred = 0.45 < x < 0.55 and 0.25 < y < 0.8
        assert all(truths.get(word, centred) for word in words), scene.caption
        seen |= words
    assert {"left", "right", "middle", "centre"} <= seen
    assert ({"top", "bottom"} <= seen) == (not STAGES[name].columns)


def test_relations_said_hold_between_the_boxes():
    relations = {
        r"to the left of|left of|on the left and": lambda a, b: a.x1 <= b.x0,
        r"to the right of|right of|on the right and": lambda a, b: a.x0 >= b.x1,
        r"above|over": lambda a, b: a.y1 <= b.y0,
        r"below|under": lambda a, b: a.y0 >= b.y1,
        r"next to|beside": lambda a, b: a.x1 <= b.x0 or b.x1 <= a.x0,
    }
    seen = set()
    for scene in (scene for scene in drawn("c") if scene.layout == "relation"):
        said = things_said(scene)
        first = mentions(said, "c")[0][1]
        one, other = scene.items
        assert is_called(one, first), scene.caption
        held = [words for words in relations if re.search(rf"\b({words})\b", said)]
        assert len(held) == 1, scene.caption
        assert relations[held[0]](one, other), scene.caption
        seen.add(held[0])
    assert seen == set(relations)


def test_a_scene_without_a_relation_does_not_claim_one():
    for scene in (scene for scene in drawn("c") if scene.layout == "pair"):
        assert not re.search(r"\b(above|below|over|under|beside|next to|left|right)\b", things_said(scene))


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_backdrops_said_are_those_of_the_scene_and_most_captions_say_one(name: str):
    words = {words for backdrop in STAGES[name].backdrops for words in words_of(backdrop)}
    longest_first = sorted(words, key=len, reverse=True)
    told = 0
    for scene in drawn(name):
        caption = f" {scene.caption.replace(',', ' ')} "
        said = next((words for words in longest_first if f" {words} " in caption), "")
        assert not said or said in words_of(scene.backdrop), scene.caption
        told += bool(said)
    assert 0.8 < told / NUM_SCENES < 1.0


def test_both_the_bare_and_the_complete_caption_are_known():
    captions = {scene.caption for scene in drawn("a")}
    for form in (
        r"an? \w+ (in|on|at|under) [\w ]+",
        r"an? (big|small) \w+ on the (left|right) (in|on|at|under) [\w ]+",
        r"an? \w+",
        r"\w+ (in|on|at|under) [\w ]+",
        r"[\w ]+, with an? [\w ]+",
    ):
        assert any(re.fullmatch(form, caption) for caption in captions), form


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_captions_are_tidy_lower_case_english(name: str):
    for caption in (scene.caption for scene in drawn(name)):
        assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", caption), caption
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]|\bthere is (two|three)|\bthere are (a|an|one)\b", caption)


@pytest.mark.parametrize(
    ("noun", "spoken"),
    [
        ("owl", "an owl"),
        ("fox", "a fox"),
        ("unicorn", "a unicorn"),
        ("ufo", "a ufo"),
        ("umbrella", "an umbrella"),
    ],
)
def test_articles_follow_the_sound(noun: str, spoken: str):
    assert with_article(noun) == spoken


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("fox", "foxes"), ("owl", "owls"), ("strawberry", "strawberries"), ("monkey", "monkeys")],
)
def test_plurals_follow_the_rules(noun: str, plural: str):
    assert plural_of(noun) == plural
