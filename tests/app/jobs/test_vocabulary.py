"""A warning where the model knows no word of the prompt, and nowhere else."""

import pytest

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.vocabulary import warnings_for

TAUGHT = {
    "objects": ["fox", "fir tree", "rocket", "whale"],
    "backgrounds": ["snow", "desert"],
    "sizes": ["small", "big"],
    "positions": ["on the left", "in the middle"],
}


def entry(vocabulary: dict[str, list[str]] | None) -> CatalogueEntry:
    return CatalogueEntry(
        name="storybook",
        revision="1",
        tasks=["text_to_image"],
        native_width=64,
        native_height=64,
        min_side=64,
        max_side=128,
        multiple=16,
        samplers=["ddim"],
        defaults=ModelDefaults(steps=25, guidance_scale=4.0, sampler="ddim"),
        parameters=1,
        licence="MIT",
        vocabulary=vocabulary,
        fingerprint="x",
    )


@pytest.mark.parametrize("prompt", ["a fox", "Two FOXES!", "whales", "a tree", "anything in the snow", "snowy desert"])
def test_one_known_word_is_enough(prompt: str) -> None:
    assert warnings_for(prompt, entry(TAUGHT)) == []


@pytest.mark.parametrize("prompt", ["a castle by the lake", "on the left, big", "ein Fuchs", "狐", "foxglove"])
def test_a_prompt_of_unknown_words_is_told_what_would_be_known(prompt: str) -> None:
    (warning,) = warnings_for(prompt, entry(TAUGHT))
    assert warning == (
        "storybook knows none of these words, so the picture may show anything. "
        "It draws things such as fox, fir tree, rocket and backgrounds such as snow, desert."
    )


@pytest.mark.parametrize("vocabulary", [None, {}, {"sizes": ["small"]}])
def test_a_model_that_does_not_say_what_it_was_taught_is_not_doubted(vocabulary: dict[str, list[str]] | None) -> None:
    assert warnings_for("a castle", entry(vocabulary)) == []


def test_no_prompt_is_no_unknown_prompt() -> None:
    assert warnings_for("  ", entry(TAUGHT)) == []
