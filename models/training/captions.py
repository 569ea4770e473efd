"""What people would say about a scene: a small grammar with paraphrases that never says what is not so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.training.domain import Item, Scene, Thing

_SIZE_SYNONYMS = {"small": ("small", "small", "little"), "big": ("big", "big", "large")}
_PLACES = {
    "left": ("on the left", "on the left", "on the left side"),
    "right": ("on the right", "on the right", "on the right side"),
    "middle": ("in the middle", "in the centre"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("at the top left", "in the top left corner"),
    "top right": ("at the top right", "in the top right corner"),
    "bottom left": ("at the bottom left", "in the bottom left corner"),
    "bottom right": ("at the bottom right", "in the bottom right corner"),
}
# a: the first thing, b: the second
_RELATIONS = {
    "left": (
        "{a} to the left of {b}",
        "{a} left of {b}",
        "{a} on the left and {b} on the right",
        "{a} next to {b}",
    ),
    "right": (
        "{a} to the right of {b}",
        "{a} right of {b}",
        "{a} on the right and {b} on the left",
        "{a} beside {b}",
    ),
    "above": ("{a} above {b}", "{a} above {b}", "{a} over {b}"),
    "below": ("{a} below {b}", "{a} below {b}", "{a} under {b}"),
}
_PAIRS = ("{a} and {b}", "{a} and {b}", "{a} with {b}")
# How often a caption says a size that it could say, a place, the colour of a shape, and an article.
_SAYS_SIZE = 0.5
_SAYS_PLACE = 0.45
_SAYS_COLOUR = 0.9
_SAYS_ARTICLE = 0.92

# s: the things, w: where they are, p: "in the snow", n: "the snow". The plain order comes most often.
_SENTENCES = (
    *["{s} {w} {p}"] * 7,
    *["{s} {p} {w}"] * 2,
    "{p}, {s} {w}",
    "{n}, with {s} {w}",
    "{n} with {s} {w}",
    "{s} {w}, {n}",
    "a picture of {s} {w} {p}",
    "there is {s} {w} {p}",
    "{s} {w}",
)


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the scene in lower case; everything it says is true, but it need not say everything."""
    place = _place(scene)
    words = {
        "s": _subject(scene, rng),
        "w": _pick(rng, _PLACES[place]) if place and rng.random() < _SAYS_PLACE else "",
        "p": _pick(rng, scene.backdrop.phrases),
        "n": _pick(rng, scene.backdrop.nouns),
    }
    sentence = _pick(rng, _SENTENCES)
    if scene.layout in ("two", "three"):
        sentence = sentence.replace("there is", "there are")
    caption = " ".join(sentence.format(**words).split()).replace(" ,", ",")
    return caption if rng.random() < _SAYS_ARTICLE else _without_article(caption)


def with_article(noun: str) -> str:
    """The noun phrase with "a" or "an" before it."""
    # "unicorn" and "ufo" are written with a vowel and spoken with a consonant
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "ufo"))
    return f"{'an' if vowel else 'a'} {noun}"


def plural_of(noun: str) -> str:
    """The regular plural of a noun phrase."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _subject(scene: Scene, rng: np.random.Generator) -> str:
    """All things of the scene: "a big fox", "two foxes", "a fox to the left of an owl"."""
    first = scene.items[0]
    if scene.layout == "one":
        return f"one {_sized(first, _name(first.thing, rng), rng)}"
    if scene.layout in ("two", "three"):
        return f"{scene.layout} {_sized(first, _plural(first.thing, rng), rng)}"
    phrases = [with_article(_sized(item, _name(item.thing, rng), rng)) for item in scene.items]
    if len(phrases) == 1:
        return phrases[0]
    wording = _pick(rng, _RELATIONS[scene.relation] if scene.relation else _PAIRS)
    return wording.format(a=phrases[0], b=phrases[1])


def _sized(item: Item, noun: str, rng: np.random.Generator) -> str:
    """The noun, and its size where it has one to tell: "big fox"."""
    if item.size_word and rng.random() < _SAYS_SIZE:
        return f"{_pick(rng, _SIZE_SYNONYMS[item.size_word])} {noun}"
    return noun


def _name(thing: Thing, rng: np.random.Generator) -> str:
    """Its usual name; now and then another that it has, or its shape alone."""
    if thing.shape:
        return thing.name if rng.random() < _SAYS_COLOUR else thing.shape
    return _pick(rng, thing.synonyms) if thing.synonyms and rng.random() < 0.25 else thing.name


def _plural(thing: Thing, rng: np.random.Generator) -> str:
    name = _name(thing, rng)
    return thing.plural if thing.plural and name == thing.name else plural_of(name)


def _place(scene: Scene) -> str:
    """Where a single thing is, if nobody would argue about it, else nothing."""
    if len(scene.items) > 1:
        return ""
    x, y = scene.items[0].centre
    column = "left" if x < 0.40 else "right" if x > 0.60 else ""
    row = "top" if y < 0.30 else "bottom" if y > 0.76 else ""
    if not row and 0.46 < x < 0.54:
        return "middle"
    return f"{row} {column}".strip()


def _without_article(caption: str) -> str:
    """The caption as people type who are in a hurry: its first article left out."""
    first, _, rest = caption.partition(" ")
    return rest if first in ("a", "an", "the") else caption


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]
