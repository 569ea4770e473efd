"""What a small model was taught, held against a prompt: a picture of unknown words is a picture of anything."""

import re
from collections.abc import Iterable, Mapping, Sequence

from app.jobs.catalogue import CatalogueEntry

# What can be drawn.  Sizes and places say something only about these, and are made of words that say nothing.
_DRAWABLE = ("objects", "shapes", "colours", "backgrounds")
_NUM_SUGGESTIONS = 3

_WORD = re.compile(r"[^\W\d_]+")


def warnings_for(prompt: str, entry: CatalogueEntry) -> list[str]:
    """A sentence for the person who asked, if the model knows no word of the prompt; it draws all the same.

    A model that does not say what it was taught is not doubted.
    """
    vocabulary = entry.vocabulary or {}
    known = _words(words for kind in _DRAWABLE for words in vocabulary.get(kind, ()))
    if not known or not prompt.strip() or known & _words([prompt]):
        return []
    return [f"{entry.name} knows none of these words, so the picture may show anything. {_offer(vocabulary)}"]


def _offer(vocabulary: Mapping[str, Sequence[str]]) -> str:
    some = ", ".join(vocabulary.get("objects", ())[:_NUM_SUGGESTIONS])
    places = ", ".join(vocabulary.get("backgrounds", ())[:_NUM_SUGGESTIONS])
    parts = [f"things such as {some}" if some else "", f"backgrounds such as {places}" if places else ""]
    return f"It draws {' and '.join(part for part in parts if part)}."


def _words(texts: Iterable[str]) -> set[str]:
    """The words of texts in lower case, each also without a plural's ending."""
    words = {word for text in texts for word in _WORD.findall(text.lower())}
    return words | {word.removesuffix(ending) for word in words for ending in ("s", "es")}
