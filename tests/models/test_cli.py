"""The command line: a sheet of scenes, a picture of a prompt, what a model is; mistakes are told in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models.checkpoints.writing import save_folder
from models.cli import cli
from models.schedule import cosine_schedule
from models.training.image_folder import ImageFolder
from models.training.pictures import sample
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline

run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pipeline = small_pipeline()
    pipeline.schedule = cosine_schedule(prediction="v")
    save_folder(pipeline, tmp_path / "small", dtype=torch.float32)
    return tmp_path / "small"


def test_draw_writes_a_picture_and_the_same_one_again(folder: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        out = tmp_path / name
        result = run(cli, ["draw", "a fox", "--model", str(folder), "--out", str(out), "--seed", "3", "--steps", "2"])
        assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "one.png").size == (32, 32)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_inspect_tells_what_a_folder_is(folder: Path) -> None:
    result = run(cli, ["inspect", str(folder)])
    assert result.exit_code == 0, result.output
    for words in ("32 x 32 px", "4 -> 4 channels", "f = 4", "predicts v", "ddim, ddpm, dpmpp_2m"):
        assert words in result.output


def test_render_writes_a_contact_sheet(tmp_path: Path) -> None:
    result = run(cli, ["render", str(tmp_path / "sheet.png"), "--count", "9", "--size", "64"])
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "sheet.png").width > 8 * 64


def test_render_writes_a_folder_that_can_be_trained_on(tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    arguments = ["render", str(out), "--count", "6", "--size", "64", "--scenes", "b", "--split", "held_out"]
    result = run(cli, arguments)
    assert result.exit_code == 0, result.output
    source = ImageFolder(out, 64)
    drawn = [sample(seed, STAGES["b"], 64, "held_out") for seed in range(6)]
    assert {caption for pictures in source.pictures.values() for _, caption in pictures} == {
        one.caption for one in drawn
    }
    for one, line in zip(drawn, (out / "metadata.jsonl").read_text().splitlines(), strict=True):
        entry = json.loads(line)
        assert np.array_equal(np.asarray(Image.open(out / entry["file_name"])), one.picture)
        x, y, width, height = entry["objects"]["bbox"][0]
        assert [x, y, x + width, y + height] == (one.boxes[0] * 64).round().tolist()
    again = run(cli, arguments, terminal_width=200)
    assert again.exit_code == 2
    assert "be new, but has a metadata.jsonl" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "nowhere"], "no model 'nowhere'"),
        (["draw", "a fox", "--model", "nowhere"], "no model 'nowhere'"),
        (["render", "sheet.png", "--scenes", "z"], "scenes must be one of"),
        (["render", "sheet.png", "--split", "z"], "split must be one of train, held_out, got 'z'"),
        (["render", "sheet.png", "--count", "5000"], "a sheet holds at most 4096 scenes, got 5000"),
        (["evaluate", "storybook", "--scenes", "z"], "scenes must be one of"),
        (["evaluate", "nowhere"], "no model 'nowhere'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: list[str], said: str) -> None:
    result = run(cli, arguments, terminal_width=200)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
