"""Previews: the linear map explains most of what the decoder would have drawn."""

import torch

from models.networks.autoencoder import Autoencoder
from models.preview import LatentToRgb, fit_latent_to_rgb
from tests.models.conftest import small_pipeline


class LinearDecoder(Autoencoder):
    """An autoencoder whose decoder is a linear map, so that the fit has one right answer."""

    weight = torch.tensor([[0.2, 0.0, 0.1, 0.0], [0.0, 0.2, 0.0, 0.0], [0.1, 0.0, 0.0, 0.2]])
    bias = torch.tensor([0.1, -0.2, 0.05])

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        small = torch.einsum("oc,bchw->bohw", self.weight, latents) + self.bias[None, :, None, None]
        return small.repeat_interleave(self.config.factor, 2).repeat_interleave(self.config.factor, 3)


def test_the_fit_finds_the_map_of_a_linear_decoder() -> None:
    autoencoder = LinearDecoder(small_pipeline().autoencoder.config)
    latents = torch.randn(2, 4, 8, 8)
    fitted = fit_latent_to_rgb(autoencoder, latents)
    torch.testing.assert_close(fitted.weight, LinearDecoder.weight, atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted.bias, LinearDecoder.bias, atol=1e-5, rtol=0)


def test_a_map_is_applied_cell_by_cell() -> None:
    weight, bias = torch.eye(3, 4), torch.tensor([0.0, 0.5, 0.0])
    latents = torch.randn(1, 4, 2, 3)
    pixels = LatentToRgb(weight, bias)(latents)
    torch.testing.assert_close(pixels, latents[:, :3] + bias.view(1, 3, 1, 1))
