"""Weights from safetensors files into networks, strictly: every key mapped, every shape checked, then read.

The headers are compared first. So a file that does not fit is refused before any memory is taken, and one that does is
read, mapped into memory, straight into a network in its target dtype: no tensor is ever held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.checkpoints.json_fields import read_json
from models.checkpoints.likely_cause import likely_cause
from models.errors import CheckpointError

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
# float32 first: it can be rounded to any other.
VARIANTS = ("", ".fp16", ".bf16")
FLOATS = ("F64", "F32", "F16", "BF16")

Rename = Callable[[str], str | None]
"""From a key in a file to the network's own; None for one that networks do not need."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Where each weight of a network lies: (file, key in it, the network's key); and what the files hold."""

    places: tuple[tuple[Path, str, str], ...]
    dtypes: frozenset[str]
    size_bytes: int


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a component: one, or the shards that its index lists; the most precise variant.

    Raises: CheckpointError if there are none, or only pickles, or an index that points elsewhere.
    """
    for variant in VARIANTS:
        if (folder / f"{stem}{variant}.safetensors").is_file():
            return [folder / f"{stem}{variant}.safetensors"]
        index = folder / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            return _shards(index)
    held = sorted(path.name for path in folder.glob("*") if path.suffix in (".safetensors", *PICKLES))
    pickles = [name for name in held if Path(name).suffix in PICKLES]
    if pickles and len(pickles) == len(held):
        raise CheckpointError(
            f"{folder} holds only {pickles[0]}, a pickle, and loading a pickle runs whatever code it contains; "
            "convert it to safetensors first"
        )
    instead = f", only {', '.join(held[:5])}" if held else ""
    raise CheckpointError(f"{folder} holds no {stem}.safetensors, nor its fp16 or bf16 variant{instead}")


def match_weights(network: nn.Module, files: Iterable[Path], rename: Rename = str) -> Matched:
    """Finds every weight of a network in the headers of files. Reads no weight.

    Raises: CheckpointError listing up to five keys that are missing, unknown or do not fit, and the likely cause.
    """
    wanted: dict[str, Tensor] = dict(network.state_dict(keep_vars=True))
    places: list[tuple[Path, str, str]] = []
    problems: list[str] = []
    strangers: list[str] = []
    dtypes: set[str] = set()
    size_bytes = 0
    for path in files:
        with _opened(path) as file:
            size_bytes += path.stat().st_size
            for stored_key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                key = rename(stored_key)
                if key is None:
                    continue
                target = wanted.pop(key, None)
                header = file.get_slice(stored_key)
                shape, dtype = tuple(header.get_shape()), header.get_dtype()
                if target is None:
                    strangers.append(stored_key)
                    problems.append(f"unknown {_shown(stored_key)}")
                elif shape != tuple(target.shape):
                    problems.append(f"{_shown(stored_key)} is {shape}, should be {tuple(target.shape)}")
                elif dtype not in FLOATS:
                    problems.append(f"{_shown(stored_key)} is stored as {dtype}, should be one of {', '.join(FLOATS)}")
                places.append((path, stored_key, key))
                dtypes.add(dtype)
    problems += [f"missing {key}" for key in wanted]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        cause = likely_cause(strangers, problems)
        raise CheckpointError(
            f"the weights do not fit the config: {'; '.join(problems[:5])}{more}" + (f". {cause}" if cause else "")
        )
    return Matched(tuple(places), frozenset(dtypes), size_bytes)


@torch.no_grad()
def read_weights(network: nn.Module, matched: Matched) -> None:
    """Fills a network with what was matched; each tensor keeps the network's dtype and device.

    Raises: CheckpointError if a file can no longer be read.
    """
    targets = dict(network.state_dict(keep_vars=True))
    for path in dict.fromkeys(path for path, _, _ in matched.places):
        with _opened(path) as file:
            for _, stored_key, key in (place for place in matched.places if place[0] == path):
                targets[key].copy_(file.get_tensor(stored_key))


def load_weights(network: nn.Module, files: Iterable[Path], rename: Rename = str) -> None:
    """`match_weights`, then `read_weights`, for a network that has room for its weights."""
    read_weights(network, match_weights(network, files, rename))


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    named = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not named or any(not isinstance(name, str) or not _lies_beside(name) for name in named):
        raise CheckpointError(f"{index} must list shards that lie beside it, got {named[:5]!r:.200}")
    shards = [index.parent / name for name in sorted(set(named))]
    for shard in shards:
        if not shard.is_file():
            held = ", ".join(sorted(path.name for path in index.parent.glob("*.safetensors"))[:5])
            raise CheckpointError(
                f"{index} names {shard.name:.80}, which is not there (there is: {held or 'no safetensors at all'}). "
                "Either the download is not complete, or the index is that of another variant"
            )
    return shards


def _lies_beside(name: str) -> bool:
    return name.endswith(".safetensors") and "\0" not in name and Path(name).name == name


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        # cut: the library quotes what it cannot read, however long
        raise CheckpointError(f"{path} cannot be read: {error!s:.300}") from error


def _shown(key: str) -> str:
    """A key that a stranger chose, fit for one line of a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in key[:120])
