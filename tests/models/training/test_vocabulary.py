"""What a stage says it knows: words, example prompts, and the corpus for its tokenizer."""

from __future__ import annotations

import pytest

from models.training.scenes import draw_scene
from models.training.stages import STAGES
from models.training.vocabulary import caption_corpus, examples, vocabulary


def test_the_corpus_is_what_training_will_see():
    corpus = caption_corpus(STAGES["b"], 50)
    assert corpus == [draw_scene(seed, STAGES["b"], "train").caption for seed in range(50)]


def test_the_vocabulary_names_what_a_stage_knows_and_nothing_else():
    known = {name: vocabulary(stage) for name, stage in STAGES.items()}
    assert known["a"]["objects"] == tuple(thing.name for thing in STAGES["a"].things)
    assert known["a"]["backgrounds"] == tuple(backdrop.name for backdrop in STAGES["a"].backdrops)
    assert set(known["a"]) == {"objects", "backgrounds", "sizes", "positions"}
    assert set(known["b"]) == set(known["a"]) | {"counts"}
    assert set(known["c"]) == set(known["b"]) | {"shapes", "colours", "relations"}
    assert known["b"]["counts"] == ("one", "two", "three")
    assert all(words for kinds in known.values() for words in kinds.values())


@pytest.mark.parametrize("name", tuple(STAGES))
def test_examples_are_eight_different_captions_from_training(name: str):
    prompts = examples(STAGES[name])
    assert len(set(prompts)) == 8
    assert set(prompts) <= set(caption_corpus(STAGES[name], 2000))
    assert not any("," in prompt for prompt in prompts)
