"""Scenes for people to look at, and for other trainers to read."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from models.training.contact_sheet import contact_sheet
from models.training.domain import SPLITS, Split, Stage
from models.training.image_folder import METADATA
from models.training.pictures import Sample, sample

MAX_ON_SHEET = 4096


def write_sheet(path: Path, stage: Stage, seeds: range, size: int, split: str) -> None:
    """The scenes of these seeds with their captions on one sheet.

    Raises: ValueError for too many scenes, or a split that there is not.
    """
    if len(seeds) > MAX_ON_SHEET:
        raise ValueError(f"a sheet holds at most {MAX_ON_SHEET} scenes, got {len(seeds)}: name a folder")
    samples = [sample(seed, stage, size, _split(split)) for seed in seeds]
    contact_sheet([one.picture for one in samples], columns=8, captions=[one.caption for one in samples]).save(path)


def write_folder(folder: Path, stage: Stage, seeds: range, size: int, split: str) -> None:
    """The scenes of these seeds as PNG files, and a metadata.jsonl: captions, things, boxes (pixels: x y width height).

    Raises: ValueError for a split that there is not, or a folder with a metadata.jsonl: it is another's.
    """
    wanted = _split(split)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / METADATA).exists():
        raise ValueError(f"{folder} must be new, but has a {METADATA}")
    lines = []
    for seed in seeds:
        one = sample(seed, stage, size, wanted)
        name = f"{seed:07d}.png"
        Image.fromarray(one.picture).save(folder / name)
        lines.append(json.dumps(_entry(name, one, size), ensure_ascii=False))
    # last, so that a folder with it is whole
    (folder / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entry(name: str, one: Sample, size: int) -> dict[str, object]:
    corners = (one.boxes * size).round().astype(int).tolist()
    boxes = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in corners]
    return {"file_name": name, "text": one.caption, "objects": {"categories": list(one.object_ids), "bbox": boxes}}


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {name!r}")
