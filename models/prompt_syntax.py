"""Words that count more or less: AUTOMATIC1111's way to write a prompt, as a pure function of the text.

    (word)      counts 1.1 times            [word]       counts 1 / 1.1 times
    (word:1.3)  counts 1.3 times            \\( \\) \\[ \\] \\\\  are the characters themselves

Brackets nest, and their weights multiply. A bracket that is never closed reaches to the end; a closing bracket
that none opened is a character like any other.

Source: AUTOMATIC1111/stable-diffusion-webui, `prompt_parser.py` (the syntax) and its documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

PromptSyntax = Literal["plain", "weighted"]

STEP = 1.1
MAX_WEIGHT = 100.0

_TOKENS = re.compile(
    r"""
    \\(?P<escaped>[\\()\[\]]?)                                        # a lone backslash is dropped
    | (?P<open>[(\[])
    | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)
    | (?P<close>[)\]])
    | (?P<text>[^\\()\[\]:]+|:)
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A stretch of a prompt, and how much its tokens count."""

    text: str
    weight: float = 1.0


def parse(prompt: str, syntax: PromptSyntax) -> list[Weighted]:
    """The stretches of a prompt, neighbours of one weight joined; at least one, if only an empty one.

    Raises: ValueError for an unknown syntax, or a weight beyond +-100.
    """
    if syntax not in get_args(PromptSyntax):
        raise ValueError(f"prompt_syntax must be one of {', '.join(get_args(PromptSyntax))}, got {syntax!r}")
    if syntax == "plain":
        return [Weighted(prompt)]
    stretches = _joined(_weighed(prompt))
    for stretch in stretches:
        if not abs(stretch.weight) <= MAX_WEIGHT:
            raise ValueError(f"a weight must be -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, got {stretch.weight:g}")
    return stretches


def _weighed(prompt: str) -> list[Weighted]:
    stretches: list[Weighted] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}  # where each open bracket begins, by its kind
    for token in _TOKENS.finditer(prompt):
        weight, close = token["weight"], token["close"]
        if token["open"]:
            opened[token["open"]].append(len(stretches))
        elif weight is not None and opened["("]:
            _multiply(stretches, opened["("].pop(), float(weight))
        elif close == ")" and opened["("]:
            _multiply(stretches, opened["("].pop(), STEP)
        elif close == "]" and opened["["]:
            _multiply(stretches, opened["["].pop(), 1 / STEP)
        elif token["escaped"] is not None:
            stretches.append(Weighted(token["escaped"]))
        else:
            stretches.append(Weighted(token[0]))
    for kind, weight_of_kind in (("(", STEP), ("[", 1 / STEP)):
        for begin in opened[kind]:
            _multiply(stretches, begin, weight_of_kind)
    return stretches


def _multiply(stretches: list[Weighted], begin: int, weight: float) -> None:
    stretches[begin:] = [Weighted(one.text, one.weight * weight) for one in stretches[begin:]]


def _joined(stretches: list[Weighted]) -> list[Weighted]:
    joined: list[Weighted] = []
    for stretch in stretches:
        if joined and joined[-1].weight == stretch.weight:
            joined[-1] = Weighted(joined[-1].text + stretch.text, stretch.weight)
        else:
            joined.append(stretch)
    return joined or [Weighted("")]
