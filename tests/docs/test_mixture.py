"""The example of the documentation does what it says: Algorithm 1 learns a mixture, Algorithm 2 samples it."""

import importlib.util
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "mixture.py"


@pytest.fixture(scope="module")
def mixture():
    spec = importlib.util.spec_from_file_location("mixture", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(mixture):
    torch.manual_seed(0)
    network = mixture.Denoiser()
    losses = mixture.train(network, mixture.SCHEDULE, 1500, torch.Generator().manual_seed(0))
    return network, losses


def on_islands(mixture, points):
    """The share of points within three standard deviations of an island, and each island's share of them."""
    distance, island = torch.cdist(points, mixture.centres()).min(dim=1)
    return (distance < 3 * mixture.STD).float().mean().item(), island.bincount(minlength=6) / len(points)


def test_algorithm_1_learns_the_mixture_and_algorithm_2_samples_it(mixture, trained):
    network, losses = trained
    generator = torch.Generator().manual_seed(1)
    walk = mixture.sample(network, mixture.SCHEDULE, 1000, generator)
    assert len(walk) == mixture.SCHEDULE.num_timesteps + 1
    share, islands = on_islands(mixture, walk[-1])
    assert share > 0.85
    assert islands.min() > 0.1, "an island was forgotten"
    assert sum(losses[-100:]) / 100 < 0.35
    share_of_noise, _ = on_islands(mixture, walk[0])
    assert share_of_noise < 0.6


def test_the_bound_lies_above_the_true_likelihood_and_below_that_of_an_untrained_network(mixture, trained):
    generator = torch.Generator().manual_seed(2)
    data = mixture.draw_data(500, generator)
    truth = -mixture.log_likelihood(data).mean().item()
    bound = mixture.bound(trained[0], data, mixture.SCHEDULE, generator, "beta")
    untrained = mixture.bound(mixture.Denoiser(), data, mixture.SCHEDULE, generator, "beta")
    assert truth < bound < truth + 1 < untrained


def test_the_true_likelihood_is_normalised(mixture):
    axis = torch.linspace(-4, 4, 401)
    grid = torch.cartesian_prod(axis, axis)
    assert mixture.log_likelihood(grid).exp().sum().item() * 0.02**2 == pytest.approx(1, abs=1e-3)


def test_the_picture_is_drawn(mixture, tmp_path):
    path = tmp_path / "images" / "mixture.png"
    points = torch.zeros(3, 2)
    mixture.plot([1.0, 0.5], [points] * 5, points, path)
    assert path.read_bytes().startswith(b"\x89PNG")
