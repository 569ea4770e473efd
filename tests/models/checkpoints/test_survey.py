"""What can be said of a model folder without reading one weight is what the loaded model says."""

from pathlib import Path

import pytest
import torch

from models import CheckpointError, load_pipeline, survey_model
from models.checkpoints.writing import save_folder
from tests.models.conftest import small_pipeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(small_pipeline(), tmp_path / "small", dtype=torch.float16)
    return tmp_path / "small"


@pytest.mark.parametrize("has_card", [True, False])
def test_a_survey_says_what_the_loaded_model_says(folder: Path, has_card: bool) -> None:
    if not has_card:
        (folder / "darkroom.json").unlink()
    survey, pipeline = survey_model(folder), load_pipeline(folder)
    assert (survey.card, survey.factor) == (pipeline.card, pipeline.factor)
    networks = (pipeline.unet, pipeline.autoencoder, pipeline.text_encoder)
    assert survey.numbers == sum(weights.numel() for network in networks for weights in network.parameters())


def test_a_survey_refuses_weights_that_do_not_fit(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 4', '"in_channels": 5'))
    with pytest.raises(CheckpointError, match="do not fit the config"):
        survey_model(folder)
