"""JSON from people we do not know, read one known key at a time, each checked for its type and its bounds.

A key that is absent or null means its default: so files say it. All raise CheckpointError naming key and value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from models.errors import CheckpointError

Json = Mapping[str, object]
T = TypeVar("T")

# CLIP's tokenizer.json, the largest that models have, holds 3.6 MB.
MAX_BYTES = 64 << 20
MAX_LEVELS, MAX_WIDTH = 8, 8192


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file. Raises: CheckpointError if there is none."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_BYTES:
            raise CheckpointError(f"{path} holds {size_bytes} bytes, which no config does")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def whole(config: Json, key: str, default: T, *, least: int = 1, most: int = MAX_WIDTH) -> int | T:
    """A whole number from least to most."""
    value = config.get(key)
    if value is None:
        return default
    if type(value) is not int or not least <= value <= most:
        raise CheckpointError(f"{key} must be a whole number from {least} to {most}, got {value!r:.80}")
    return value


def number(config: Json, key: str, default: float) -> float:
    """A finite number."""
    value = config.get(key)
    if value is None:
        return default
    # float() of a whole number of 400 digits would raise an error of its own
    if type(value) not in (int, float) or not abs(value) < 1e12:  # type: ignore[arg-type]
        raise CheckpointError(f"{key} must be a finite number, got {value!r:.80}")
    return float(value)  # type: ignore[arg-type]


def positive(config: Json, key: str, default: float) -> float:
    """A finite number above 0."""
    value = number(config, key, default)
    if value <= 0 or not math.isfinite(1 / value):
        raise CheckpointError(f"{key} must be above 0, got {value:g}")
    return value


def flag(config: Json, key: str, default: bool) -> bool:
    """true or false."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise CheckpointError(f"{key} must be true or false, got {value!r:.80}")
    return value


def choice(config: Json, key: str, default: T, known: Collection[str]) -> str | T:
    """One of the words that are known."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, str) or value not in known:
        raise CheckpointError(f"{key} must be {' or '.join(sorted(known))}, got {value!r:.80}")
    return value


def widths(config: Json, key: str) -> tuple[int, ...]:
    """The channels of every level; there is no default."""
    value = config.get(key)
    fits = isinstance(value, list) and 1 <= len(value) <= MAX_LEVELS
    if not fits or not all(type(one) is int and 1 <= one <= MAX_WIDTH for one in value):  # type: ignore[attr-defined]
        raise CheckpointError(
            f"{key} must list one to {MAX_LEVELS} whole numbers from 1 to {MAX_WIDTH}, got {value!r:.80}"
        )
    return tuple(value)  # type: ignore[arg-type]


def per_level(config: Json, key: str, levels: int, default: int, *, most: int = MAX_WIDTH) -> tuple[int, ...]:
    """A whole number from 1 for each level, or one for all of them."""
    values = _spread(config, key, levels, default)
    if not all(type(one) is int and 1 <= one <= most for one in values):
        raise CheckpointError(f"{key} must be whole numbers from 1 to {most}, got {config.get(key)!r:.80}")
    return tuple(values)  # type: ignore[arg-type]


def flags_per_level(config: Json, key: str, levels: int) -> tuple[bool, ...]:
    """true or false for each level, or one for all of them; false by default."""
    values = _spread(config, key, levels, False)
    if not all(isinstance(one, bool) for one in values):
        raise CheckpointError(f"{key} must be true or false, or one a level, got {config.get(key)!r:.80}")
    return tuple(values)  # type: ignore[arg-type]


def _spread(config: Json, key: str, levels: int, default: object) -> Sequence[object]:
    value = config.get(key)
    value = default if value is None else value
    values = value if isinstance(value, list) else [value] * levels
    if len(values) != levels:
        raise CheckpointError(f"{key} must have one entry for each of the {levels} levels, got {value!r:.80}")
    return values


def blocks(config: Json, key: str, names: Mapping[str, bool]) -> tuple[bool, ...]:
    """What each named block means; every name must be known."""
    value = config.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) and one in names for one in value):
        raise CheckpointError(f"{key} must list {' or '.join(names)}, got {value!r:.120}")
    return tuple(names[one] for one in value)


def require(config: Json, fixed: Json) -> None:
    """Refuses keys that would change the network in a way that is not built here, unless they hold what is."""
    for key, only in fixed.items():
        # type too: 1 == True, and true would be another network
        if key in config and (config[key] != only or isinstance(config[key], bool) != isinstance(only, bool)):
            raise CheckpointError(f"{key} = {config[key]!r:.80} is not supported, only {only!r}")
