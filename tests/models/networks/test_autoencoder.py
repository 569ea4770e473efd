"""The autoencoder computes what diffusers computes, and its latents are what the mathematics says."""

import pytest
import torch
from diffusers import AutoencoderKL

from models.checkpoints.diffusers_config import read_autoencoder, write_autoencoder
from models.config import PRESETS, AutoencoderConfig
from models.networks.autoencoder import Autoencoder, DiagonalGaussian, to_uint8

KINDS = {
    "f = 8 with attention": AutoencoderConfig(channels=(16, 32, 32, 32), norm_groups=8),
    "f = 1": AutoencoderConfig(channels=(16,), norm_groups=8, layers_per_block=1),
    "f = 4 without attention": AutoencoderConfig(channels=(16, 16, 32), norm_groups=8, mid_attention=False),
    "f = 32": AutoencoderConfig(channels=(8,) * 6, norm_groups=4, layers_per_block=1),
    "without the 1x1 convolutions": AutoencoderConfig(
        channels=(16, 32), norm_groups=8, quant_conv=False, post_quant_conv=False
    ),
    "storybook": PRESETS["cpu"].autoencoder,
}


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
@torch.no_grad()
def test_autoencoder_agrees_with_diffusers(config: AutoencoderConfig) -> None:
    oracle = AutoencoderKL.from_config(write_autoencoder(config, size=32)).eval()
    autoencoder = Autoencoder(config).eval()
    autoencoder.load_state_dict(oracle.state_dict())
    images = torch.rand(2, 3, 32, 64) * 2 - 1
    expected = oracle.encode(images).latent_dist
    posterior = autoencoder.posterior(images)
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, expected.logvar, rtol=1e-5, atol=1e-5)
    restored = autoencoder.decode(autoencoder.encode(images))
    torch.testing.assert_close(restored, oracle.decode(expected.mean).sample, rtol=1e-5, atol=1e-5)


def test_the_factor_is_two_to_the_levels_and_sizes_that_it_does_not_divide_are_refused() -> None:
    config = KINDS["f = 32"]
    assert config.factor == 32
    assert Autoencoder(config).encode(torch.zeros(1, 3, 64, 32)).shape == (1, 4, 2, 1)
    with pytest.raises(ValueError, match="multiples of 32"):
        Autoencoder(config).encode(torch.zeros(1, 3, 64, 40))


def test_a_config_survives_the_way_into_a_file_and_back() -> None:
    for config in KINDS.values():
        assert read_autoencoder(write_autoencoder(config, size=32)) == config


@pytest.mark.parametrize(
    ("widths", "layers"), [((128, 256, 512, 512), 2), ((128, 256, 512), 2)], ids=["f = 8: SD 1, 2", "f = 4: upscaler"]
)
def test_real_sizes_have_the_same_keys_and_shapes_as_diffusers(widths: tuple[int, ...], layers: int) -> None:
    published = write_autoencoder(AutoencoderConfig(channels=widths, layers_per_block=layers), size=512)
    with torch.device("meta"):
        oracle, autoencoder = AutoencoderKL.from_config(published), Autoencoder(read_autoencoder(published))
    shapes = {name: tensor.shape for name, tensor in autoencoder.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in oracle.state_dict().items()}


def test_kl_of_a_gaussian_agrees_with_torch() -> None:
    mean, log_variance = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    ours = DiagonalGaussian(mean, log_variance).kl()
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected = torch.distributions.kl_divergence(normal, standard).flatten(1).sum(dim=1)
    torch.testing.assert_close(ours, expected)


def test_pixels_are_clamped_and_rounded_to_eight_bits() -> None:
    values = torch.tensor([-7.0, -1.0, -0.999, 0.0, 0.0039, 1.0, 3.0])
    images = values.view(1, 1, 1, -1).expand(1, 3, 1, -1)
    assert to_uint8(images)[0, 0, :, 0].tolist() == [0, 0, 0, 128, 128, 255, 255]
