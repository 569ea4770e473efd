"""An autoencoder that begins linear: the components it keeps, and the pictures that come back before any training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.config import PRESETS
from models.networks.autoencoder import Autoencoder
from models.training.autoencoder import AutoencoderObjective, measure_psnr
from models.training.config import AutoencoderTraining
from models.training.linear_start import principal_components, start_linear
from models.training.sources import open_source

CONFIG = AutoencoderTraining(
    preset="x4",
    scenes="c",
    crop_size=32,
    texture_share=0.4,
    num_steps=1,
    batch_size=1,
    learning_rate=1e-3,
    linear_start=True,
)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return open_source(CONFIG).draw(0, 256).images


@pytest.fixture(scope="module")
def network(pictures: Tensor) -> Autoencoder:
    torch.manual_seed(0)
    network = Autoencoder(PRESETS["x4"].autoencoder)
    start_linear(network, pictures)
    return network


def test_components_are_orthonormal_and_explain_most_first(pictures: Tensor) -> None:
    mean, directions, deviations = principal_components(pictures, 12)
    rows = directions.reshape(12, 48)
    assert torch.allclose(rows @ rows.T, torch.eye(12), atol=1e-5)
    assert (deviations.diff() <= 0).all()
    squares = F.pixel_unshuffle(pictures, 4).permute(0, 2, 3, 1).reshape(-1, 48)
    projected = (squares - mean.flatten()) @ rows.T
    assert torch.allclose(projected.std(dim=0), deviations, rtol=1e-3)


@torch.no_grad()
def test_latents_begin_as_principal_components(network: Autoencoder, pictures: Tensor) -> None:
    mean, directions, deviations = principal_components(pictures, 12)
    squares = F.pixel_unshuffle(pictures, 4)
    rows = directions.reshape(12, 48, 1, 1) / deviations.view(12, 1, 1, 1)
    components = F.conv2d(squares - mean.reshape(1, 48, 1, 1), rows)
    latents = network.encode(pictures)
    both = torch.stack([latents.transpose(0, 1).flatten(1), components.transpose(0, 1).flatten(1)])
    alike = [torch.corrcoef(both[:, component])[0, 1] for component in range(12)]
    assert min(alike) > 0.97


def test_colours_come_back_before_any_training() -> None:
    held_out = open_source(CONFIG).draw(0, 32, split="held_out").images
    begun = AutoencoderObjective(CONFIG, torch.device("cpu")).network
    random = AutoencoderObjective(replace(CONFIG, linear_start=False), torch.device("cpu")).network
    assert measure_psnr(begun, held_out) > 16.0
    assert measure_psnr(random, held_out) < 12.0


@torch.no_grad()
def test_an_even_picture_keeps_its_colour(network: Autoencoder) -> None:
    dark, light = torch.full((1, 3, 32, 32), -0.6), torch.full((1, 3, 32, 32), 0.6)
    middle = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    restored = [network.decode(network.encode(picture))[middle].mean() for picture in (dark, light)]
    assert restored[0] < -0.3
    assert restored[1] > 0.3


@pytest.mark.parametrize("change", [{"norm_groups": 8}, {"channels": (24, 48)}, {"quant_conv": False}])
def test_a_network_that_cannot_begin_linear_is_refused(change: dict[str, object], pictures: Tensor) -> None:
    network = Autoencoder(replace(PRESETS["x4"].autoencoder, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a linear start needs a factor of 4"):
        start_linear(network, pictures)
