"""Training: a run that was stopped gives what one that was not gives, and a wrong config is refused by key."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models import TextToImage, load_pipeline
from models.networks.autoencoder import Autoencoder
from models.schedule import cosine_schedule
from models.tasks.given import to_cells
from models.training.autoencoder import AutoencoderObjective, edge_difference, whiten_latents
from models.training.batches import box_cells, draw_batch, step_generator
from models.training.config import AutoencoderTraining, DiffusionTraining, read_config
from models.training.diffusion import DiffusionObjective
from models.training.ema import Ema
from models.training.latent_networks import level_weight, silence_residuals, spread_timesteps
from models.training.latents import PictureEncoder
from models.training.loop import learning_rate, train
from models.training.masks import draw_masks
from models.training.recipes import Run, train_autoencoder, train_diffusion
from models.training.sources import open_source
from models.training.stages import STAGES

CPU = torch.device("cpu")
TINY = AutoencoderTraining(
    preset="cpu",
    scenes="a",
    num_steps=4,
    batch_size=2,
    learning_rate=1e-3,
    warmup_steps=2,
    bfloat16=False,
    checkpoint_every=2,
    grid_every=100,
)
TINY_DIFFUSION = DiffusionTraining(
    preset="cpu",
    scenes="a",
    num_steps=4,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=2,
    checkpoint_every=2,
    grid_every=100,
    grid_steps=1,
    full_mask_share=0.5,
    corpus_size=500,
)


def silent(_: str) -> None:
    """For runs whose progress nobody reads."""


def write(path: Path, config: AutoencoderTraining | DiffusionTraining) -> Path:
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items()))
    return path


def run_autoencoder(folder: Path, config: AutoencoderTraining) -> dict[str, Tensor]:
    train(AutoencoderObjective(config, CPU), config, folder, device=CPU, report=silent)
    return load_file(folder / "checkpoint.safetensors")


class Stopped(Exception):
    """The plug was pulled."""


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = run_autoencoder(tmp_path / "whole", TINY)

    class Interrupted(AutoencoderObjective):
        def losses(self, batch: object, generator: torch.Generator) -> dict[str, Tensor]:
            self.seen = getattr(self, "seen", 0) + 1
            if self.seen > 3:  # the checkpoint is of step 2: one step is lost and must be done again
                raise Stopped
            return super().losses(batch, generator)  # type: ignore[arg-type]

    with pytest.raises(Stopped):
        train(Interrupted(TINY, CPU), TINY, tmp_path / "stopped", device=CPU, report=silent)
    resumed = run_autoencoder(tmp_path / "stopped", TINY)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    one = run_autoencoder(tmp_path / "one", replace(TINY, num_steps=1))
    other = run_autoencoder(tmp_path / "other", replace(TINY, num_steps=1, seed=1))
    assert any(not torch.equal(one[name], other[name]) for name in one if name.startswith("network."))


def test_both_stages_from_config_files_to_a_folder_that_draws(tmp_path: Path) -> None:
    stage1 = write(tmp_path / "autoencoder.toml", replace(TINY, num_steps=1))
    stage2 = write(tmp_path / "diffusion.toml", replace(TINY_DIFFUSION, num_steps=2))
    lines: list[str] = []
    psnr = train_autoencoder(stage1, Run(tmp_path / "one", CPU, lines.append))
    assert 3 < psnr < 60
    train_diffusion(stage2, Run(tmp_path / "two", CPU, lines.append), tmp_path / "one" / "vae", name="mine")
    assert any("rows/s" in line and "min to go" in line for line in lines)
    assert (tmp_path / "two" / "grid-0000002.png").stat().st_size > 10_000
    pipeline = load_pipeline(tmp_path / "two" / "mine")
    assert pipeline.card.vocabulary["objects"] == tuple(thing.name for thing in STAGES["a"].things)
    assert pipeline.generate(TextToImage(prompt="a fox", num_steps=1)).shape == (1, 64, 64, 3)


def test_a_pool_is_drawn_from_by_step_alone() -> None:
    config = replace(TINY_DIFFUSION, pool_size=64)
    encoder = PictureEncoder(config, open_source(config), AutoencoderObjective(TINY, CPU).network)
    first, second = encoder.batches(0), encoder.batches(1)
    next(first)
    ahead, behind = next(first), next(second)
    assert ahead.captions == behind.captions
    assert torch.equal(ahead.x0, behind.x0)


def test_text_to_image_rows_are_given_nothing_and_inpaint_rows_what_their_mask_leaves() -> None:
    network = AutoencoderObjective(TINY, CPU).network.requires_grad_(False)
    config = replace(TINY_DIFFUSION, bfloat16=False)
    encoder = PictureEncoder(config, open_source(config), network)
    encoded = next(encoder.batches(0))
    assert torch.equal(encoded.mask[2:], torch.ones(2, 1, 16, 16))
    assert torch.equal(encoded.masked[2:], encoder.grey.expand(2, -1, -1, -1))
    # a flat picture has next to no variance to normalise by, so rounding shows
    torch.testing.assert_close(encoder.grey, network.encode(torch.zeros(1, 3, 64, 64)), atol=1e-2, rtol=0)
    assert all(0 < float(mask.mean()) < 1 for mask in encoded.mask[:2])


@torch.no_grad()
def test_whitened_latents_have_mean_zero_and_deviation_one_and_decode_as_before() -> None:
    network: Autoencoder = AutoencoderObjective(TINY, CPU).network
    images = draw_batch(STAGES["a"], 64, 0, 8).images
    before = network.decode(network.encode(images))
    variance = (
        network.posterior(images).log_variance.exp() / network.posterior(images).mean.var(dim=(0, 2, 3))[:, None, None]
    )
    whiten_latents(network, images)
    latents = network.encode(images)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(network.decode(latents), before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network.posterior(images).log_variance.exp(), variance, atol=1e-3, rtol=1e-2)


def test_edges_are_told_from_flat_error_and_the_same_picture_has_none() -> None:
    picture = torch.rand(1, 3, 16, 16)
    assert edge_difference(picture, picture) == 0
    assert edge_difference(picture + 0.5, picture) < 1e-6
    assert edge_difference(torch.zeros_like(picture), picture) > 0.1


def test_masks_reach_the_cells_by_maximum_and_cover_something_but_not_all() -> None:
    boxes = draw_batch(STAGES["a"], 64, 0, 32).boxes
    masks = draw_masks(boxes, 64, step_generator(0, 0))
    share = masks.mean(dim=(1, 2, 3))
    assert float(share.min()) > 0.01
    assert float(share.max()) < 1.0
    one_pixel = torch.zeros(1, 1, 64, 64)
    one_pixel[0, 0, 5, 9] = 1.0
    assert to_cells(one_pixel, 4).nonzero().tolist() == [[0, 0, 1, 2]]


def test_box_cells_are_those_that_the_box_touches() -> None:
    cells = box_cells((torch.tensor([[0.26, 0.5, 0.5, 1.0]]),), 8)
    expected = torch.zeros(8, 8)
    expected[4:8, 2:4] = 1.0
    assert torch.equal(cells[0, 0], expected)


def test_timesteps_are_spread_over_the_schedule_and_shuffled() -> None:
    t = spread_timesteps(100, 1000, step_generator(0, 5))
    assert t.sort().values.div(10, rounding_mode="floor").tolist() == list(range(100))
    assert t.tolist() != sorted(t.tolist())


def test_the_level_weight_is_one_at_high_noise_and_falls_where_little_is_left() -> None:
    weight = level_weight(torch.tensor([0, 500, 999]), cosine_schedule(prediction="v"), ceiling=5.0)
    assert weight[1:].tolist() == [1.0, 1.0]
    assert 0 < float(weight[0]) < 0.01


def test_residual_branches_start_silent() -> None:
    from models.networks.unet import UNet
    from tests.models.conftest import TEXT_WIDTH, small_unet

    unet = UNet(small_unet()).eval()
    silence_residuals(unet)
    out = unet(torch.randn(1, 4, 8, 8), torch.tensor([5.0]), torch.randn(1, 3, TEXT_WIDTH))
    assert not out.any()
    assert unet.mid_block.resnets[0].conv1.weight.any()


def test_the_average_follows_slowly_and_forgets_its_start() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    ema = Ema(network, decay=0.99)
    torch.nn.init.ones_(network.weight)
    for step in range(2000):
        ema.follow(network, step)
        if step == 0:
            assert float(ema.shadow.weight) == pytest.approx(0.9)
    assert float(ema.shadow.weight) == pytest.approx(1.0, abs=1e-4)


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    config = replace(TINY, num_steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[100] == pytest.approx(0.01)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    run_autoencoder(tmp_path, replace(TINY, num_steps=2))

    class Broken(AutoencoderObjective):
        def losses(self, batch: object, generator: torch.Generator) -> dict[str, Tensor]:
            losses = super().losses(batch, generator)  # type: ignore[arg-type]
            return {name: value * float("nan") for name, value in losses.items()}

    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train(Broken(TINY, CPU), TINY, tmp_path, device=CPU, report=silent)
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in kept.values())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('preset = "huge"', r"preset must be one of \['cpu', 'gpu', 'x4'\], got 'huge'"),
        ('scenes = "z"', "scenes must be one of"),
        ("num_steps = 0", "num_steps must be at least 1, got 0"),
        ("batch_size = 2.5", "batch_size must be int, got 2.5"),
        ("bfloat16 = 1", "bfloat16 must be bool, got 1"),
        ("caption_dropout = 1.5", r"caption_dropout must be in \[0, 1\], got 1.5"),
        ("speed = 3", "unknown key 'speed'"),
    ],
)
def test_a_wrong_config_names_the_key_the_value_and_what_is_allowed(tmp_path: Path, line: str, said: str) -> None:
    lines = write(tmp_path / "run.toml", TINY_DIFFUSION).read_text().splitlines()
    kept = [old for old in lines if old.split(" = ")[0] != line.split(" = ")[0]]
    (tmp_path / "run.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(ValueError, match=said):
        read_config(tmp_path / "run.toml", DiffusionTraining)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('preset = "cpu"')
    with pytest.raises(ValueError, match="missing key 'batch_size'"):
        read_config(tmp_path / "run.toml", AutoencoderTraining)


@pytest.mark.parametrize("path", sorted(Path("models/training/configs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_config_that_ships_is_valid(path: Path) -> None:
    read_config(path, AutoencoderTraining if "autoencoder" in path.stem else DiffusionTraining)


def test_after_three_steps_every_parameter_has_moved_and_the_caption_matters(tmp_path: Path) -> None:
    """The first step moves only the last convolution: residual branches start silent, and speak up one by one."""
    network = AutoencoderObjective(TINY, CPU).network
    objective = DiffusionObjective(TINY_DIFFUSION, network, CPU)
    before = {name: parameter.detach().clone() for name, parameter in objective.network.named_parameters()}
    train(objective, replace(TINY_DIFFUSION, weight_decay=0.0), tmp_path, device=CPU, report=silent)
    after = dict(objective.network.named_parameters())
    still = [name for name in before if torch.equal(before[name], after[name])]
    # an id that no caption holds has no gradient; all else has
    assert still == []
    x, t = torch.randn(1, 9, 16, 16), torch.tensor([500])
    tokenize = objective.tokenizer.tokenize
    with torch.no_grad():
        fox, owl = (objective.network(x, t, tokenize([prompt])) for prompt in ("a fox", "an owl at night"))
    assert not torch.equal(fox, owl)
