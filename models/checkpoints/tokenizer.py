"""CLIP's tokenizer from a folder: vocabulary, merges and the four marks are read as data, and nothing else is.

`from_pretrained` would also follow what a config says about classes, files and repositories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from models.checkpoints.json_fields import Json, read_json
from models.errors import CheckpointError

_CONFIG, _MAP = "tokenizer_config.json", "special_tokens_map.json"
_END = "<|endoftext|>"
# As CLIP has them; Stable Diffusion 2 pads with "!".
_MARKS = {"bos_token": "<|startoftext|>", "eos_token": _END, "unk_token": _END, "pad_token": _END}


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of tokenizer.json, or of vocab.json and merges.txt.

    Raises: CheckpointError.
    """
    if (folder / "tokenizer.json").is_file():
        vocab, merges = _from_one_file(folder / "tokenizer.json")
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocab, merges = _checked(folder, read_json(folder / "vocab.json"), _merge_lines(folder / "merges.txt"))
    else:
        raise CheckpointError(f"{folder} holds neither tokenizer.json nor vocab.json and merges.txt")
    marks = _marks(folder)
    strangers = sorted(mark for mark in marks.values() if mark not in vocab)
    if strangers:
        raise CheckpointError(f"{folder} is not a CLIP tokenizer: its vocabulary has no {', '.join(strangers):.80}")
    try:
        pairs: Any = merges  # transformers annotates strings and takes pairs
        return CLIPTokenizer(vocab=vocab, merges=pairs, **marks)
    except BaseException as error:
        # the library's Rust half panics over merges that make no piece, and a panic is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise CheckpointError(f"{folder} is not a CLIP tokenizer: {error!s:.300}") from error


def _from_one_file(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = read_json(path).get("model")
    if not isinstance(model, dict):
        raise CheckpointError(f"{path.parent} is not a CLIP tokenizer: {path.name} has no model")
    return _checked(path.parent, model.get("vocab"), model.get("merges"))


def _merge_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return [line for line in lines if line and not line.startswith("#version")]


def _checked(folder: Path, vocab: object, merges: object) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces to ids, and pairs of pieces: a merge is written as "a b" or as ["a", "b"]."""
    if not isinstance(vocab, dict) or sorted(map(_id, vocab.values())) != list(range(len(vocab))):
        raise CheckpointError(f"{folder} is not a CLIP tokenizer: its vocabulary must map pieces to 0, 1, 2 ...")
    pairs = [_pair(merge) for merge in merges] if isinstance(merges, list) else [None]
    known = [pair for pair in pairs if pair is not None]
    if len(known) != len(pairs):
        raise CheckpointError(f"{folder} is not a CLIP tokenizer: its merges must be pairs of pieces")
    return vocab, known


def _pair(merge: object) -> tuple[str, str] | None:
    pieces = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pieces, list) or len(pieces) != 2 or not all(isinstance(piece, str) for piece in pieces):
        return None
    return pieces[0], pieces[1]


def _marks(folder: Path) -> dict[str, str]:
    """BOS, EOS, unknown and padding. As in transformers the map has the last word over a config of its own age only."""
    config, older = ({} if file is None else file for file in map(_small_file, (folder / _CONFIG, folder / _MAP)))
    said = {**config, **older} if "added_tokens_decoder" not in config else config
    marks = {}
    for name, usual in _MARKS.items():
        value = usual if said.get(name) is None else said[name]
        mark = value.get("content") if isinstance(value, dict) else value  # some files write a mark with its flags
        if not isinstance(mark, str):
            raise CheckpointError(f"{folder}: {name} must be a string, got {value!r:.80}")
        marks[name] = mark
    return marks


def _small_file(path: Path) -> Json | None:
    return read_json(path) if path.is_file() else None


def _id(value: object) -> int:
    return value if type(value) is int else -1
