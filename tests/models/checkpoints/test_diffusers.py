"""Folders in diffusers' layout: diffusers reads ours, what is wrong with one is said, and no code in them runs."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from models import CheckpointError, ModelError, Pipeline, TextToImage, load_pipeline
from models.checkpoints.diffusers_scheduler import read_schedule, write_schedule
from models.checkpoints.saving import save_weights
from models.checkpoints.tokenizer import load_tokenizer
from models.checkpoints.weights import load_weights, weight_files
from models.sampling import SamplerOptions
from models.schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    rescale_zero_terminal_snr,
    scaled_linear_schedule,
)

REQUEST = TextToImage(prompt="a fox in the snow", seed=42, num_steps=5, guidance_scale=3.0)


@pytest.fixture
def folder(tmp_path: Path, pipeline: Pipeline) -> Path:
    """A folder as this library writes it."""
    from models.checkpoints.writing import save_folder
    from models.schedule import cosine_schedule

    pipeline.schedule = cosine_schedule(prediction="v")
    save_folder(pipeline, tmp_path / "small", dtype=torch.float32)
    return tmp_path / "small"


def edit(path: Path, **changes: object) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | changes))


def test_a_saved_folder_draws_the_same_picture(folder: Path, pipeline: Pipeline) -> None:
    loaded = load_pipeline(folder)
    assert np.array_equal(loaded.generate(REQUEST), pipeline.generate(REQUEST))
    assert loaded.card.samplers == pipeline.card.samplers
    assert loaded.card.revision != pipeline.card.revision


@pytest.mark.parametrize("make", [linear_schedule, scaled_linear_schedule, cosine_schedule])
def test_a_schedule_is_written_by_its_name_and_read_back(make: Callable[..., Schedule]) -> None:
    schedule = make(prediction="v")
    for options in (SamplerOptions(), SamplerOptions(spacing="trailing", steps_offset=1, set_alpha_to_one=False)):
        read, read_options = read_schedule(write_schedule(schedule, options))
        assert torch.equal(read.betas, schedule.betas)
        assert (read.prediction, read_options) == ("v", options)
    stretched = rescale_zero_terminal_snr(schedule)
    with pytest.raises(ValueError, match="no config can name them"):
        write_schedule(stretched, SamplerOptions())


def test_diffusers_loads_our_folder_and_draws_the_same_picture(folder: Path) -> None:
    ours = load_pipeline(folder).generate(REQUEST)[0]
    theirs = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    picture = theirs(
        REQUEST.prompt,
        height=32,
        width=32,
        num_inference_steps=5,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).images[0]
    assert np.abs(picture * 255 - ours).max() <= 1.0


def test_weights_may_lie_in_shards_of_half_precision(folder: Path, pipeline: Pipeline) -> None:
    save_weights(pipeline.unet, folder / "unet", "diffusion_pytorch_model", torch.float16, shard_bytes=100_000)
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    loaded = load_pipeline(folder)
    for name, weight in loaded.unet.state_dict().items():
        torch.testing.assert_close(weight, pipeline.unet.state_dict()[name], rtol=1e-3, atol=1e-3)


def test_a_text_encoder_with_the_old_prefix_is_read_too(folder: Path, pipeline: Pipeline) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    old = {f"text_model.{name}": tensor for name, tensor in load_file(path).items()}
    old["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(old, path)
    assert np.array_equal(load_pipeline(folder).generate(REQUEST), pipeline.generate(REQUEST))


def test_the_first_five_strangers_are_listed(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    tensors = {"weight": torch.zeros(3, 5)} | {f"stranger{number}": torch.zeros(1) for number in range(9)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_weights(network, [tmp_path / "model.safetensors"])
    message = str(error.value)
    assert message.count(";") == 4
    assert "and 6 more" in message  # nine strangers, a wrong shape and a missing bias, less five

    save_file({"weight": torch.zeros(3, 5)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"weight is \(3, 5\), should be \(3, 2\); missing bias"):
        load_weights(network, [tmp_path / "model.safetensors"])


def test_a_pickle_is_refused_with_the_reason_and_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'exploded'}",)

    (tmp_path / "model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"model\.bin, a pickle, and loading a pickle runs"):
        weight_files(tmp_path, "model")
    assert not (tmp_path / "exploded").exists()


def test_an_index_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"weight": "../../etc/passwd"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="shards that lie beside it"):
        weight_files(tmp_path, "model")


def test_what_is_no_model_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model_index\.json"):
        load_pipeline(tmp_path)
    with pytest.raises(ModelError, match="no model 'nothing'"):
        load_pipeline("nothing")
    with pytest.raises(CheckpointError, match="neither"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a CLIP tokenizer"):
        load_tokenizer(tmp_path)


def test_a_folder_without_darkroom_json_still_has_a_card(folder: Path) -> None:
    (folder / "darkroom.json").unlink()
    card = load_pipeline(folder).card
    assert (card.name, card.native_width, card.default_guidance_scale) == ("small", 32, 7.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"tasks": "x"}, "tasks must list strings"), ({"native_width": "x"}, "native_width"), ({"more": 1}, "more")],
)
def test_a_wrong_card_is_refused_by_entry(folder: Path, changes: dict[str, object], said: str) -> None:
    edit(folder / "darkroom.json", **changes)
    with pytest.raises(CheckpointError, match=said):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("unet/config.json", {"act_fn": "gelu"}, "act_fn = 'gelu' is not supported"),
        ("unet/config.json", {"block_out_channels": [32, True]}, "block_out_channels must list"),
        ("unet/config.json", {"down_block_types": ["Evil", "DownBlock2D"]}, "down_block_types must list"),
        ("unet/config.json", {"up_block_types": ["UpBlock2D"] * 2}, "mirror"),
        ("unet/config.json", {"norm_num_groups": 7}, "norm_groups"),
        ("vae/config.json", {"latent_channels": "4"}, "latent_channels must be a whole number"),
        ("text_encoder/config.json", {"model_type": "t5"}, "model_type"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "exp"}, "beta_schedule must be"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type must be"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "epsilon", "rescale_betas_zero_snr": True},
            "makes no schedule",
        ),
    ],
)
def test_a_config_that_cannot_be_built_names_the_key(
    folder: Path, file: str, changes: dict[str, object], said: str
) -> None:
    edit(folder / file, **changes)
    with pytest.raises(CheckpointError, match=said):
        load_pipeline(folder)
