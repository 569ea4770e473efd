"""What people write to find pictures, read into what a store can look for.  Nothing here knows SQL.

    red cat "in the snow"  model:storybook steps:>20 rating:>=4 tag:"for print" after:2026-01-31

Every word, every phrase in quotes and every field narrows the search: a picture must fit all of them.  Words are
looked for in prompts, whole, whatever their case or accents; words side by side only in quotes.
"""

import operator
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.jobs.failures import BadSearch
from app.jobs.spec import MAX_SIDE, SEEDS, TASKS

MAX_CHARACTERS: Final = 500
MAX_TERMS: Final = 32
MAX_RATING: Final = 5
MAX_TAGS: Final = 20
MAX_TAG_CHARACTERS: Final = 40
MAX_NAME_CHARACTERS: Final = 200

# No word of a language is longer; what is longer counts as far as this.
_MAX_WORD_CHARACTERS = 64

# Han and kana are written without spaces: each character is a word, and several in a row are a phrase.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

_TERM = re.compile(r'(?P<space>\s*)(?:(?P<field>[A-Za-z_]+):)?(?:"(?P<quoted>[^"]*)(?P<end>")?|(?P<bare>[^\s"]*))')
_NUMBER = re.compile(r"(>=|<=|>|<|=)?([0-9]{1,10})")

RELATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
"""How a picture may stand to a value."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One thing a picture must be: what it has as `field` stands in `relation` to `value`."""

    field: str
    relation: str
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Search:
    """Which pictures are looked for: every phrase is in the prompt, and every filter holds.  The empty one: all."""

    phrases: tuple[tuple[str, ...], ...] = ()
    filters: tuple[Filter, ...] = ()
    is_deleted: bool = False
    """Whether those are looked for that were deleted and can be restored, instead of the others."""

    def where(self, *filters: Filter) -> "Search":
        """This search, narrowed."""
        return Search(self.phrases, (*self.filters, *filters), self.is_deleted)


def parse(text: str) -> Search:
    """What is looked for by `text`.  Raises: BadSearch, whose message says what is allowed and repeats nothing."""
    if len(text) > MAX_CHARACTERS:
        raise BadSearch("q", f"must have at most {MAX_CHARACTERS} characters")
    phrases: list[tuple[str, ...]] = []
    filters: list[Filter] = []
    for count, (at, field, value) in enumerate(_terms(text), 1):
        if count > MAX_TERMS:
            raise BadSearch("q", f"must have at most {MAX_TERMS} words and fields")
        if field is not None:
            filters.append(_filter(field.lower(), value, "q", f"at character {at + 1}: "))
        elif said := words(value):
            phrases.append(said)
    return Search(tuple(phrases), tuple(filters))


def narrowed(field: str, text: str) -> Filter:
    """What `field:text` would narrow to, for a parameter that is named as the field.  Raises: BadSearch."""
    return _filter(field, text, field)


def words(text: str) -> tuple[str, ...]:
    """The words of a text, as they are kept and looked for: in one case, without accents, letters and digits only."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return tuple(word[:_MAX_WORD_CHARACTERS] for word in _WORD.findall(bare))


def tag_of(text: str) -> str:
    """A tag as it is kept: in small letters, single spaces within.

    Raises: ValueError, whose text says what a tag may be.
    """
    tag = " ".join(unicodedata.normalize("NFC", text).lower().split())
    is_plain = all(character.isalnum() or character in " -_." for character in tag)
    if not tag or len(tag) > MAX_TAG_CHARACTERS or not is_plain:
        raise ValueError(
            f"must be 1 to {MAX_TAG_CHARACTERS} letters, digits, spaces, hyphens, underscores or full stops"
        )
    return tag


def _terms(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Where each term begins, its field if it has one, and its value.  Raises: BadSearch."""
    text, end = text.rstrip(), 0
    # Every part of the pattern may be empty, so it always matches; all of it only at the end.
    while end < len(text) and (found := _TERM.match(text, end)):
        at, end = found.end("space"), found.end()
        if found["quoted"] is not None and found["end"] is None:
            raise BadSearch("q", f"at character {found.start('quoted')}: a quotation mark must be closed by another")
        yield at, found["field"], found["bare"] if found["quoted"] is None else found["quoted"]


def _filter(field: str, text: str, parameter: str, place: str = "") -> Filter:
    """The filter that `field:text` is.  Raises: BadSearch, which blames `parameter` at a `place` of it."""
    read = _FIELDS.get(field)
    if read is None:
        known = ", ".join(f"{name}:" for name in _FIELDS)
        raise BadSearch(parameter, f"{place}a field must be one of {known}; words with a colon go in quotes")
    try:
        return read(field, text)
    except ValueError as error:
        subject = f"{place}{field} " if place else ""
        raise BadSearch(parameter, f"{subject}{error}") from None


def _name(field: str, text: str) -> Filter:
    if not text.isprintable() or not 1 <= len(text) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"must be a name of 1 to {MAX_NAME_CHARACTERS} characters, in quotes if it has spaces")
    return Filter(field, "=", text)


def _task(field: str, text: str) -> Filter:
    if text not in TASKS:
        raise ValueError(f"must be one of {', '.join(TASKS)}")
    return Filter(field, "=", text)


def _tag(field: str, text: str) -> Filter:
    return Filter(field, "=", tag_of(text))


def _number(largest: int) -> Callable[[str, str], Filter]:
    def read(field: str, text: str) -> Filter:
        found = _NUMBER.fullmatch(text)
        if found is None or int(found[2]) > largest:
            raise ValueError(f"must be a whole number from 0 to {largest}, which >, >=, < or <= may precede")
        return Filter(field, found[1] or "=", int(found[2]))

    return read


def _time(field: str, text: str) -> Filter:
    try:
        if len(text) < len("2026-01-31"):
            raise ValueError(text)
        said = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day such as 2026-01-31, or a time such as 2026-01-31T18:30:00Z") from None
    moment = said if said.tzinfo else said.replace(tzinfo=UTC)
    return Filter("created_at", ">=" if field == "after" else "<", moment.timestamp())


_FIELDS: Final[Mapping[str, Callable[[str, str], Filter]]] = {
    "model": _name,
    "sampler": _name,
    "task": _task,
    "tag": _tag,
    "seed": _number(SEEDS - 1),
    "steps": _number(1000),
    "width": _number(MAX_SIDE),
    "height": _number(MAX_SIDE),
    "rating": _number(MAX_RATING),
    "before": _time,
    "after": _time,
}
