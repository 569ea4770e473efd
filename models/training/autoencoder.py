"""Stage 1: the autoencoder (Rombach et al. 2022, sec. 3.1), without a perceptual network, which nobody can ship.

Axes: b batch, c channels, h height, w width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.config import PRESETS
from models.networks.autoencoder import Autoencoder, to_uint8
from models.training.batches import Batch, seeded_weights
from models.training.config import AutoencoderTraining
from models.training.contact_sheet import contact_sheet
from models.training.linear_start import start_linear
from models.training.parallel import ALONE, Group
from models.training.sources import open_source, stream


class AutoencoderObjective:
    """L1, L1 of the gradients at four scales (edges), and a small KL."""

    def __init__(self, config: AutoencoderTraining, device: torch.device, *, group: Group = ALONE) -> None:
        self.config, self.device, self.group = config, device, group
        self.source = open_source(config)
        # On a CPU the backward of GroupNorm is a third slower in channels_last, at the few channels of full size.
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        with seeded_weights(config.seed):
            self.network = Autoencoder(PRESETS[config.preset].autoencoder)
        if config.linear_start:
            start_linear(self.network, self.source.draw(0, 512, seed=config.seed).images)

    def batches(self, first_step: int) -> Iterator[Batch]:
        """What the config says to learn from."""
        return stream(self.source, self.config, first_step, self.group)

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss` = l1 + gradient_weight * edges + kl_weight * kl (nats for one latent number)."""
        images = batch.images.to(self.device).contiguous(memory_format=self.memory_format)
        posterior = self.network.posterior(images)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        restored = self.network.decode(self.network.scale(posterior.sample(noise))).float()
        l1 = (restored - images).abs().mean()
        edges = edge_difference(restored, images)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = l1 + self.config.gradient_weight * edges + self.config.kl_weight * kl
        mse = (restored.clamp(-1, 1) - images).square().mean()
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl, "mse": mse}

    @torch.no_grad()
    def grid(self, network: Autoencoder) -> Image.Image:
        """Held-out pictures above, what is left of them below."""
        images = self.source.draw(0, 8, split="held_out").images.to(self.device)
        restored = network.decode(network.encode(images))
        return contact_sheet(list(to_uint8(torch.cat([images, restored])).cpu().numpy()), columns=8)


def edge_difference(restored: Tensor, images: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute difference of horizontal and vertical gradients, at full size and each half of it. (b, c, h, w)."""
    total = restored.new_zeros(())
    for scale in range(scales):
        if scale:
            restored, images = F.avg_pool2d(restored, 2), F.avg_pool2d(images, 2)
        difference = restored - images
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return total / scales


@torch.no_grad()
def measure_psnr(network: Autoencoder, images: Tensor) -> float:
    """Peak signal to noise in dB of what is left of the images (b, 3, h, w), as 8-bit pixels."""
    restored = to_uint8(network.decode(network.encode(images))).float()
    original = to_uint8(images).float()
    return float(10.0 * torch.log10(255.0**2 / (restored - original).square().mean()))


@torch.no_grad()
def whiten_latents(network: Autoencoder, images: Tensor) -> None:
    """Folds the latents' mean and deviation into the two 1x1 convolutions, so that they are about N(0, 1) a channel.

    diffusers' pipelines know only one scaling factor; folded in, it is 1 and exact for each channel.
    Raises: ValueError for an autoencoder without both convolutions.
    """
    latents = network.posterior(images).mean
    _fold(network, latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3)))


@torch.no_grad()
def rescale_latents(network: Autoencoder, scaling_factor: float) -> None:
    """Another scaling factor, folded into the two 1x1 convolutions: `encode` and `decode` stay what they are.

    Raises: ValueError for an autoencoder without both convolutions.
    """
    config = network.config
    std = torch.full((config.latent_channels,), scaling_factor / config.scaling_factor)
    _fold(network, torch.zeros_like(std), std)
    network.config = replace(config, scaling_factor=scaling_factor)


def _fold(network: Autoencoder, mean: Tensor, std: Tensor) -> None:
    """Latents (x - mean) / std in place of x, and pictures as they were. Shapes: mean, std (c,)."""
    before, after = network.quant_conv, network.post_quant_conv
    if before is None or after is None or before.bias is None or after.bias is None:
        raise ValueError("latents are folded into quant_conv and post_quant_conv, got an autoencoder without both")
    channels = len(mean)
    mean, std = mean.to(before.weight), std.to(before.weight)
    before.weight[:channels] /= std[:, None, None, None]
    before.bias[:channels].copy_((before.bias[:channels] - mean) / std)
    before.bias[channels:] -= 2.0 * std.log()  # the log-variance shrinks with the square of the deviation
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= std[None, :, None, None]
