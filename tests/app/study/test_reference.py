"""The real pictures of the study are what their README says: scenes of the renderer, held out of training."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.study.pictures import REFERENCE, alike, veiled
from models.training.rendering import write_folder
from models.training.stages import STAGES
from tests.app.pictures import photo


def test_the_renderer_draws_the_same_files_again(tmp_path: Path) -> None:
    seeds = [9_000_000, 9_000_199]
    for seed in seeds:
        write_folder(tmp_path / str(seed), STAGES["a"], range(seed, seed + 1), 64, "held_out")
        (drawn,) = (tmp_path / str(seed)).glob("*.png")
        shipped = REFERENCE / drawn.name
        assert np.array_equal(np.asarray(Image.open(drawn)), np.asarray(Image.open(shipped)))
        line = json.loads((tmp_path / str(seed) / "metadata.jsonl").read_text())
        assert json.loads((REFERENCE / "captions.json").read_text())[drawn.name] == line["text"]


@pytest.mark.parametrize("count", [2, 5])
def test_pictures_of_any_kind_become_alike(count: int) -> None:
    files = [photo(96, 64), photo(64, 128, "JPEG"), photo(200, 70, "WEBP"), photo(64, 64), photo(640, 480)][:count]
    pictures, size = alike(files)
    assert size == (64, 64)
    shown = [veiled(picture) for picture in pictures]
    assert len({len(each) for each in shown}) == 1, "a file's length must not tell what is in it"
    assert len(set(shown)) == count
