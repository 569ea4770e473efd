"""One command measures all that a model does, and writes it beside the weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from models.checkpoints.writing import save_folder
from models.cli import cli
from models.evaluation.score_card import BEGIN, END, markdown, score, with_tables
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline


def silent(_: str) -> None:
    """For what nobody reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with two tasks, and a card that people wrote."""
    pipeline = small_pipeline(in_channels=9)
    pipeline.card = replace(pipeline.card, tasks=("text_to_image", "inpaint"))
    save_folder(pipeline, tmp_path / "small", dtype=torch.float32)
    (tmp_path / "small" / "README.md").write_text(f"# Mine\n\nBefore.\n\n{BEGIN}\nlast year's\n{END}\n\nAfter.\n")
    return tmp_path / "small"


def test_the_command_measures_every_task_and_writes_it_beside_the_weights(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["evaluate", str(folder), "--count", "3", "--write"])
    assert result.exit_code == 0, result.output
    written = json.loads((folder / "evaluation.json").read_text())
    assert written["prompt_following"]["real scenes"]["thing"] == {
        "hits": 6,
        "trials": 6,
        "share": 1.0,
        "low": pytest.approx(0.61, abs=0.01),
        "high": 1.0,
    }
    assert written["inpainting"]["held out"]["untouched"]["hits"] == 3
    assert written["likelihood"]["bits_per_colour"] > 0
    assert written["super_resolution"] == {}
    assert len(written["revision"]) == 12
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# Mine\n\nBefore.\n")
    assert readme.endswith(f"{END}\n\nAfter.\n")
    assert "last year's" not in readme
    for line in ("| real scenes | 6 | 100.0 % (61..100)", "| combinations seen | ", "bits for a colour"):
        assert line in readme
        assert line in result.output


def test_an_upscaler_is_measured_on_scenes_and_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.evaluation.score_card._ENLARGED_SIDE", 64)
    upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
    upscaler.card = replace(upscaler.card, tasks=("super_resolution",), default_steps=1)
    card = score(upscaler, STAGES["c"], count=1, report=silent)
    assert card.prompt_following == {}
    assert card.likelihood is None
    assert list(card.super_resolution) == ["scenes", "textures"]
    text = markdown(card)
    assert text.count("| bicubic | ") == 2
    assert "| model, consistent | " in text


def test_tables_go_to_the_end_of_a_card_that_has_no_place_for_them() -> None:
    once = with_tables("# A model\n", "| a |")
    assert once == f"# A model\n\n{BEGIN}\n\n| a |\n\n{END}\n"
    assert with_tables(once, "| b |") == once.replace("| a |", "| b |")
