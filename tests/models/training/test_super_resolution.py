"""The upscaler's training: what it learns from, and a run from config file to a folder that enlarges."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import SuperResolution, load_pipeline, training
from models.training.autoencoder import AutoencoderObjective, rescale_latents
from models.training.batches import step_generator
from models.training.config import AutoencoderTraining, EndToEndTraining, SuperResolutionTraining
from models.training.details import draw_detail
from models.training.end_to_end import EndToEndObjective
from models.training.recipes import Run, train_autoencoder, train_end_to_end, train_super_resolution
from models.training.sources import open_source, stream
from models.training.stages import STAGES
from models.training.super_resolution import SuperResolutionObjective, low_res_noise, shrunk
from models.training.textures import TEXTURES

CPU = torch.device("cpu")
CONFIGS = Path(training.__file__).parent / "configs"
TINY = SuperResolutionTraining(
    preset="x4",
    scenes="c",
    crop_size=64,
    texture_share=0.5,
    num_steps=2,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=1,
    grid_every=2,
    grid_steps=1,
    corpus_size=300,
)


def silent(_: str) -> None:
    """For runs whose progress nobody reads."""


@pytest.fixture
def objective() -> SuperResolutionObjective:
    stage1 = AutoencoderTraining(preset="x4", scenes="c", crop_size=64, num_steps=1, batch_size=1, learning_rate=1e-3)
    return SuperResolutionObjective(TINY, AutoencoderObjective(stage1, CPU).network, CPU)


@pytest.mark.parametrize("kind", TEXTURES)
def test_a_texture_follows_from_its_seed_and_is_no_even_colour(kind: str) -> None:
    pictures = [TEXTURES[kind](np.random.default_rng(seed), 48) for seed in (1, 1, 2)]
    assert pictures[0].shape == (48, 48, 3)
    assert pictures[0].dtype == np.uint8
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    assert all(picture.std() > 1 for picture in pictures)


def test_details_are_decided_by_seed_and_split_and_textures_have_no_captions() -> None:
    def drawn(seed: int, split: str, share: float) -> tuple[bytes, str]:
        picture, caption = draw_detail(seed, STAGES["c"], 32, split, texture_share=share)  # type: ignore[arg-type]
        assert picture.shape == (32, 32, 3)
        return picture.tobytes(), caption

    assert drawn(5, "train", 0.5) == drawn(5, "train", 0.5)
    assert drawn(5, "train", 0.5) != drawn(5, "held_out", 0.5)
    assert all(drawn(seed, "train", 1.0)[1] == "" for seed in range(5))
    assert all(drawn(seed, "train", 0.0)[1] for seed in range(5))


def test_a_source_draws_whole_scenes_or_squares_as_the_config_says() -> None:
    whole = open_source(replace(TINY, crop_size=0, texture_share=0.0, preset="cpu", scenes="a"))
    assert whole.draw(0, 2).images.shape == (2, 3, 64, 64)
    assert all(len(boxes) == 1 for boxes in whole.draw(0, 2).boxes)
    config = replace(TINY, crop_size=32)
    squares = open_source(config)
    assert squares.draw(0, 2).images.shape == (2, 3, 32, 32)
    assert torch.equal(next(stream(squares, config, 3)).images, squares.draw(3, 4).images)


def test_the_small_picture_is_what_box_averages_of_8_bit_are() -> None:
    images = torch.rand(1, 3, 8, 8) * 2 - 1
    small = shrunk(images, 4)
    steps = (small + 1) * 127.5
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(small, images.reshape(1, 3, 2, 4, 2, 4).mean((3, 5)), atol=1 / 255 + 1e-6, rtol=0)


def test_the_network_is_shown_the_small_picture_noised_by_its_label(objective: SuperResolutionObjective) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    objective.network.unet.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0], inputs[3])))
    batch = next(objective.batches(0))
    assert batch.x0.shape == (4, 12, 16, 16)
    losses = objective.losses(batch, step_generator(0, 0))
    assert losses["loss"].isfinite()
    inputs, labels = seen[0]
    assert inputs.shape == (4, 15, 16, 16)
    assert 0 <= int(labels.min()) <= int(labels.max()) <= TINY.max_noise_level
    levels = low_res_noise(350).schedule.alpha_bar[labels]
    strayed = (inputs[:, 12:] - levels.sqrt().view(-1, 1, 1, 1) * batch.small).std(dim=(1, 2, 3))
    torch.testing.assert_close(strayed, (1 - levels).sqrt().float(), rtol=0.2, atol=1e-6, check_dtype=False)


def test_a_pool_is_drawn_from_by_step_alone(objective: SuperResolutionObjective) -> None:
    objective.config = replace(TINY, pool_size=64)
    first, second = objective.batches(0), objective.batches(1)
    next(first)
    ahead, behind = next(first), next(second)
    assert ahead.captions == behind.captions
    assert torch.equal(ahead.x0, behind.x0)
    assert torch.equal(ahead.small, behind.small)


def test_from_config_files_to_a_folder_that_enlarges(tmp_path: Path) -> None:
    stage1 = AutoencoderTraining(
        preset="x4", scenes="c", crop_size=32, texture_share=0.5, num_steps=1, batch_size=2, learning_rate=1e-3
    )
    for name, config in (("autoencoder", stage1), ("upscaler", TINY)):
        lines = [f"{key} = {json.dumps(value)}" for key, value in asdict(config).items()]
        (tmp_path / f"{name}.toml").write_text("\n".join(lines))
    train_autoencoder(tmp_path / "autoencoder.toml", Run(tmp_path / "one", CPU, silent))
    train_super_resolution(
        tmp_path / "upscaler.toml", Run(tmp_path / "two", CPU, silent), tmp_path / "one" / "vae", name="larger"
    )
    assert (tmp_path / "two" / "grid-0000002.png").stat().st_size > 10_000
    pipeline = load_pipeline(tmp_path / "two" / "larger")
    assert pipeline.card.tasks == ("super_resolution",)
    assert pipeline.low_res is not None
    assert torch.equal(pipeline.low_res.schedule.betas, low_res_noise(350).schedule.betas)
    small = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    assert pipeline.generate(SuperResolution(image=small, num_steps=1)).shape == (1, 80, 96, 3)

    stage3 = EndToEndTraining(
        preset="x4", scenes="c", crop_size=32, num_steps=2, batch_size=2, learning_rate=1e-3, warmup_steps=1
    )
    lines = [f"{key} = {json.dumps(value)}" for key, value in asdict(stage3).items()]
    (tmp_path / "pixels.toml").write_text("\n".join(lines))
    run = Run(tmp_path / "three", CPU, silent, start=tmp_path / "two" / "larger")
    train_end_to_end(tmp_path / "pixels.toml", run, name="better")
    better = load_pipeline(tmp_path / "three" / "better")
    assert (better.card.name, better.card.default_steps) == ("better", 1)
    before, after = pipeline.autoencoder.state_dict(), better.autoencoder.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"decoder.conv_in.weight", "decoder.conv_out.weight", "post_quant_conv.weight"} <= moved
    assert not [name for name in moved if name.startswith("encoder.")]
    assert not torch.equal(pipeline.unet.conv_in.weight, better.unet.conv_in.weight)


def test_pixels_are_what_counts_from_end_to_end(objective: SuperResolutionObjective) -> None:
    config = EndToEndTraining(preset="x4", scenes="c", crop_size=64, num_steps=1, batch_size=4, learning_rate=1e-3)
    last = EndToEndObjective(config, objective.pipeline(objective.network, "untrained"), CPU)
    batch = next(last.batches(0))
    losses = last.losses(batch, step_generator(0, 0))
    assert 0 < losses["mse"] < losses["loss"]
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    learning = {name for name, parameter in last.network.named_parameters() if parameter.grad is not None}
    assert {"unet.conv_in.weight", "unet.conv_out.weight", "autoencoder.decoder.conv_out.weight"} <= learning
    assert not [name for name in learning if name.startswith(("autoencoder.encoder.", "autoencoder.quant_conv."))]


@torch.no_grad()
def test_an_estimate_of_pure_noise_is_made_of_the_small_picture_alone(objective: SuperResolutionObjective) -> None:
    config = EndToEndTraining(preset="x4", scenes="c", crop_size=64, num_steps=1, batch_size=4, learning_rate=1e-3)
    last = EndToEndObjective(config, objective.pipeline(objective.network, "untrained"), CPU)
    torch.nn.init.normal_(last.network.unet.conv_out.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    x0, small = torch.randn(1, 12, 16, 16), torch.rand(1, 3, 16, 16)
    end, middle = torch.tensor([999]), torch.tensor([500])

    def estimate(latents: torch.Tensor, picture: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return last.estimate(latents, picture, t, step_generator(0, 0))

    torch.testing.assert_close(estimate(-x0, small, end), estimate(x0, small, end), rtol=0, atol=1e-2)
    assert (estimate(x0, 1 - small, end) - estimate(x0, small, end)).abs().max() > 1e-2
    assert (estimate(-x0, small, middle) - estimate(x0, small, middle)).abs().max() > 0.5


@torch.no_grad()
def test_another_scaling_factor_changes_no_latent_and_no_picture(objective: SuperResolutionObjective) -> None:
    network, images = objective.autoencoder, torch.rand(2, 3, 16, 16) * 2 - 1
    before = network.encode(images), network.decode(network.encode(images)), network.posterior(images).log_variance
    rescale_latents(network, 0.08333)
    assert network.config.scaling_factor == 0.08333
    torch.testing.assert_close(network.encode(images), before[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(network.decode(before[0]), before[1], rtol=0, atol=1e-4)
    # noise is as strong beside the latents as it was
    wider = network.posterior(images).log_variance - before[2]
    torch.testing.assert_close(wider, torch.full_like(wider, 2 * math.log(1 / 0.08333)), rtol=0, atol=1e-4)


def test_only_an_upscaler_is_trained_from_end_to_end(tmp_path: Path, objective: SuperResolutionObjective) -> None:
    config = EndToEndTraining(preset="x4", scenes="c", crop_size=64, num_steps=1, batch_size=4, learning_rate=1e-3)
    model = replace(objective.pipeline(objective.network, "plain"), low_res=None)
    with pytest.raises(ValueError, match="plain enlarges no pictures: give an upscaler"):
        EndToEndObjective(config, model, CPU)
    (tmp_path / "pixels.toml").write_text((CONFIGS / "storybook-x4-end-to-end.toml").read_text())
    with pytest.raises(ValueError, match="--from must name the folder of an upscaler"):
        train_end_to_end(tmp_path / "pixels.toml", Run(tmp_path / "run", CPU, silent), name="none")


def test_textures_need_squares_to_stand_in_for() -> None:
    with pytest.raises(ValueError, match="texture_share needs crop_size"):
        replace(TINY, crop_size=0)
    with pytest.raises(ValueError, match="crop_size must be 0 or a multiple of 16, got 40"):
        replace(TINY, crop_size=40)
