"""Weighted prompts: A1111's arithmetic, stretch by stretch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prompt_syntax import Weighted, parse


@pytest.mark.parametrize(
    ("prompt", "stretches"),
    [
        ("", [("", 1.0)]),
        ("a fox", [("a fox", 1.0)]),
        ("a (fox)", [("a ", 1.0), ("fox", 1.1)]),
        ("a [fox]", [("a ", 1.0), ("fox", 1 / 1.1)]),
        ("(fox:1.5) in snow", [("fox", 1.5), (" in snow", 1.0)]),
        ("((fox))", [("fox", 1.1 * 1.1)]),
        ("(a (red:2) fox:.5)", [("a ", 0.5), ("red", 1.0), (" fox", 0.5)]),
        ("([fox])", [("fox", 1 / 1.1 * 1.1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.1 / 1.1), (" c", 1 / 1.1)]),
        (r"a \(fox\) \[b\] \\", [("a (fox) [b] \\", 1.0)]),
        (r"a \fox", [("a fox", 1.0)]),
        ("fox) and owl]", [("fox) and owl]", 1.0)]),
        ("(fox", [("fox", 1.1)]),
        ("[fox", [("fox", 1 / 1.1)]),
        ("(fox: 1.5 )", [("fox", 1.5)]),
        ("(fox:-1)", [("fox", -1.0)]),
        ("fox:1.5)", [("fox:1.5)", 1.0)]),
        ("(time: now)", [("time: now", 1.1)]),
        ("(fox:.)", [("fox:.", 1.1)]),
        ("(fox:0)", [("fox", 0.0)]),
        ("(a)(b)", [("ab", 1.1)]),
    ],
)
def test_weights_are_those_of_a1111(prompt: str, stretches: list[tuple[str, float]]) -> None:
    parsed = parse(prompt, "weighted")
    assert [one.text for one in parsed] == [text for text, _ in stretches]
    assert [one.weight for one in parsed] == pytest.approx([weight for _, weight in stretches])


def test_plain_prompts_are_left_alone() -> None:
    assert parse(r"a (fox:2) \(", "plain") == [Weighted(r"a (fox:2) \(", 1.0)]


@given(st.text(alphabet="ab ()[]\\", max_size=24))
def test_no_word_is_lost_or_moved(prompt: str) -> None:
    kept = "".join(stretch.text for stretch in parse(prompt, "weighted"))
    assert [letter for letter in kept if letter in "ab "] == [letter for letter in prompt if letter in "ab "]


@given(st.text(alphabet="abc \n狐,.!", max_size=24))
def test_text_without_brackets_means_the_same_in_both_syntaxes(prompt: str) -> None:
    assert parse(prompt, "weighted") == parse(prompt, "plain")


@pytest.mark.parametrize("prompt", ["(fox:101)", "(" * 60 + "fox", "(fox:" + "9" * 400 + ")", "(fox:-101)"])
def test_weights_that_would_drown_everything_are_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match="a weight must be -100 to 100"):
        parse(prompt, "weighted")


def test_an_unknown_syntax_is_refused() -> None:
    with pytest.raises(ValueError, match="plain, weighted, got 'compel'"):
        parse("fox", "compel")  # type: ignore[arg-type]
