"""What people write to find pictures is read as they mean it, or refused in words that repeat nothing of it."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.failures import BadSearch
from app.jobs.search import MAX_TERMS, Filter, Search, narrowed, parse, tag_of, words

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

FIELDS = ("model", "sampler", "task", "tag", "seed", "steps", "width", "height", "rating", "before", "after", "x")
# Searches as people and their enemies write them.
PIECES = st.sampled_from([*(f"{name}:" for name in FIELDS), *'" ><=5*', "'", "OR", "--", "2026-01-31", "\0", "\ud800"])
QUERIES = st.one_of(st.text(max_size=80), st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=20).map("".join))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", ()),
        ("  red   cat ", (("red",), ("cat",))),
        ('"Red Cat" snow', (("red", "cat"), ("snow",))),
        ("Ünïcode ＦＵＬＬ straße", (("unicode",), ("full",), ("strasse",))),
        ("it's 16:9 well-lit", (("it", "s"), ("16", "9"), ("well", "lit"))),
        ("森の狐", (("森", "の", "狐"),)),
        ("!!! ... \"\"", ()),
        ("a AND b OR NEAR(c)", (("a",), ("and",), ("b",), ("or",), ("near", "c"))),
        ("z" * 100, (("z" * 64,),)),
    ],
)  # fmt: skip
def test_words_and_phrases_are_looked_for(text: str, phrases: tuple[tuple[str, ...], ...]) -> None:
    assert parse(text) == Search(phrases)


@pytest.mark.parametrize(
    ("text", "filter"),
    [
        ("model:storybook", Filter("model", "=", "storybook")),
        ('MODEL:"my model"', Filter("model", "=", "my model")),
        ("sampler:ddim", Filter("sampler", "=", "ddim")),
        ("task:inpaint", Filter("task", "=", "inpaint")),
        ('tag:"For  Print"', Filter("tag", "=", "for print")),
        ("seed:4294967295", Filter("seed", "=", 4294967295)),
        ("steps:>20", Filter("steps", ">", 20)),
        ("rating:>=4", Filter("rating", ">=", 4)),
        ("width:<=256", Filter("width", "<=", 256)),
        ("height:<64", Filter("height", "<", 64)),
        ("after:2026-01-01", Filter("created_at", ">=", NEW_YEAR)),
        ("before:2026-01-01T01:00:00+01:00", Filter("created_at", "<", NEW_YEAR)),
    ],
)
def test_fields_narrow(text: str, filter: Filter) -> None:
    assert parse(text) == Search(filters=(filter,))
    assert parse(f"cat {text} snow") == Search((("cat",), ("snow",)), (filter,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("style:oil", "at character 1: a field must be one of model:, sampler:, "),
        ("cat steps:many", "at character 5: steps must be a whole number from 0 to 1000"),
        ("steps: 5", "steps must be a whole number"),
        ("rating:6", "rating must be a whole number from 0 to 5"),
        ("seed:4294967296", "seed must be a whole number from 0 to 4294967295"),
        ("seed:٣", "seed must be a whole number"),
        ("task:painting", "task must be one of text_to_image, "),
        ("model:", "model must be a name of 1 to 200 characters"),
        ("model:a\0b", "model must be a name"),
        ("tag:a/b", "tag must be 1 to 40 letters"),
        ("after:yesterday", "after must be a day such as"),
        ("before:2026-13-01", "before must be a day such as"),
        ("before:20260101", "before must be a day such as"),
        ('a "red cat', "at character 3: a quotation mark must be closed"),
        ("a " * (MAX_TERMS + 1), f"must have at most {MAX_TERMS} words and fields"),
        ("a" * 501, "must have at most 500 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(BadSearch) as refused:
        parse(text)
    assert refused.value.field == "q"
    assert said in refused.value.message


def test_a_parameter_is_read_as_its_field_is_and_blamed_by_its_name() -> None:
    assert narrowed("rating", ">=4") == Filter("rating", ">=", 4)
    with pytest.raises(BadSearch) as refused:
        narrowed("rating", "many")
    assert (refused.value.field, refused.value.message[:22]) == ("rating", "must be a whole number")


@given(QUERIES)
def test_whatever_is_written_is_read_or_refused_and_never_repeated(text: str) -> None:
    try:
        search = parse(text)
    except BadSearch as refused:
        said = refused.message
    else:
        said = ""
        assert all(word.isalnum() and len(word) <= 64 for phrase in search.phrases for word in phrase)
        assert all("\0" not in str(filter.value) for filter in search.filters)
    assert said.isascii()


@given(st.text(max_size=60))
def test_a_text_is_found_by_its_own_words_however_they_are_written(text: str) -> None:
    kept = words(text)
    assert words(unicodedata.normalize("NFD", text)) == kept
    assert words(" ".join(kept)) == kept
    for word in kept:
        assert parse(f'"{word}"').phrases == (words(word),)


@given(st.text(max_size=60))
def test_a_tag_that_is_kept_is_kept_as_itself(text: str) -> None:
    try:
        tag = tag_of(text)
    except ValueError:
        return
    assert tag_of(tag) == tag
    assert parse(f'tag:"{tag}"').filters == (Filter("tag", "=", tag),)
