"""A folder of pictures with captions, as the model hubs lay them out ("imagefolder").

Captions stand in a `metadata.jsonl` beside the pictures, one JSON object a line with `file_name` and `text` (or
`caption`), or in a .txt of the picture's name. Pictures under a folder `validation`, `test` or `held_out` are kept out
of training; where there is none, one picture in twenty is, by its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.training.batches import Batch
from models.training.domain import SPLITS, Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
METADATA = "metadata.jsonl"
_KEPT_OUT = ("validation", "valid", "val", "test", "held_out")
_NUM_EXAMPLES = 8


class ImageFolder:
    """The captioned pictures of a folder, as squares of `size` pixels.

    A picture is shrunk until its shorter side fits and cut at a random place; with `is_cropped` it is only cut.
    """

    def __init__(self, folder: Path, size: int, *, is_cropped: bool = False) -> None:
        """Find the pictures; none is opened yet.

        Raises: ValueError naming the folder or line that is wrong, or if nothing is left to train on or to hold out.
        """
        self.size, self.is_cropped = size, is_cropped
        found = _captioned(folder)
        has_own_split = any(_is_kept_out(path.relative_to(folder)) for path, _ in found)
        self.pictures: dict[Split, list[tuple[Path, str]]] = {split: [] for split in SPLITS}
        for path, caption in found:
            inside = path.relative_to(folder)
            held_out = _is_kept_out(inside) if has_own_split else _is_one_of_twenty(inside)
            self.pictures["held_out" if held_out else "train"].append((path, caption))
        # a handful of pictures may all have fallen on one side
        train, held_out_ones = self.pictures["train"], self.pictures["held_out"]
        for empty, other in ((held_out_ones, train), (train, held_out_ones)):
            if not empty and len(other) > 1:
                empty.append(other.pop())
        if not all(self.pictures.values()):
            raise ValueError(f"{folder} must hold at least two pictures ({', '.join(SUFFIXES)}) with captions")

    def draw(self, number: int, count: int, *, split: Split = "train", seed: int = 0) -> Batch:
        """Batch `number`: pictures by lot, each cut at random. They have no boxes."""
        rng = np.random.Generator(np.random.PCG64((seed, number, SPLITS.index(split))))
        pictures = self.pictures[split]
        chosen = [pictures[int(place)] for place in rng.integers(len(pictures), size=count)]
        pixels = torch.from_numpy(np.stack([self._square(path, rng) for path, _ in chosen]))
        return Batch(
            images=pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0,
            captions=tuple(caption for _, caption in chosen),
            boxes=tuple(torch.zeros(0, 4) for _ in chosen),
        )

    def corpus(self, count: int) -> list[str]:
        """The captions of training, at most `count`."""
        return [caption for _, caption in self.pictures["train"][:count]]

    def vocabulary(self) -> Mapping[str, tuple[str, ...]]:
        """Nothing is known about the words."""
        return {}

    def examples(self) -> tuple[str, ...]:
        """The shortest captions, which are the plainest."""
        captions = sorted(dict.fromkeys(self.corpus(len(self.pictures["train"]))), key=len)
        return tuple(captions[:_NUM_EXAMPLES])

    def _square(self, path: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert("RGB")
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no picture that can be read: {error}") from error
        scale = self.size / min(image.size)
        if scale > 1.0 or not self.is_cropped:
            sides = [max(self.size, round(side * scale)) for side in image.size]
            image = image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
        left, top = (int(rng.integers(side - self.size + 1)) for side in image.size)
        return np.asarray(image.crop((left, top, left + self.size, top + self.size)))


def _captioned(folder: Path) -> list[tuple[Path, str]]:
    """Every picture that has a caption, in the order of their names."""
    if not folder.is_dir():
        raise ValueError(f"images must be a folder that exists, got {str(folder)!r}")
    listed: dict[Path, str] = {}
    for metadata in sorted(folder.rglob(METADATA)):
        for number, line in enumerate(metadata.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                name, caption = _entry(line, f"{metadata}:{number}")
                listed[metadata.parent / name] = caption
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        beside = path.with_suffix(".txt")
        if path in listed:
            found.append((path, listed[path]))
        elif beside.is_file():
            found.append((path, beside.read_text(encoding="utf-8").strip()))
    strangers = sorted(str(path) for path in listed.keys() - {path for path, _ in found})
    if strangers:
        raise ValueError(f"{METADATA} names pictures that are not there: {', '.join(strangers[:5])}")
    return found


def _entry(line: str, place: str) -> tuple[str, str]:
    try:
        entry = json.loads(line)
        name, caption = entry["file_name"], entry["text"] if "text" in entry else entry["caption"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place} must be a JSON object with file_name and text") from error
    if not isinstance(name, str) or not isinstance(caption, str):
        raise ValueError(f"{place}: file_name and text must be strings")
    return name, caption


def _is_kept_out(inside: Path) -> bool:
    return any(part in _KEPT_OUT for part in inside.parts[:-1])


def _is_one_of_twenty(inside: Path) -> bool:
    return sha256(inside.as_posix().encode()).digest()[0] % 20 == 0
