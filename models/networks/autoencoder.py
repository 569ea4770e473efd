"""The autoencoder between pixels and latents (Rombach et al. 2022, sec. 3.1 and appendix G).

Axes: b batch, c channels, h height, w width (pixels for images; latents are f times smaller).
Module names are those of the diffusers format.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import AutoencoderConfig
from models.networks.attention import SingleHeadAttention
from models.networks.layers import Downsample, ResnetBlock, Upsample


@dataclass(frozen=True, slots=True)
class DiagonalGaussian:
    """What the encoder believes: a normal distribution for every latent number. Shapes (b, c, h/f, w/f)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """The reparameterised draw of Kingma & Welling 2014; noise is N(0, I) of the mean's shape."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def kl(self) -> Tensor:
        """KL(self || N(0, I)) in nats, summed over one picture. Returns (b,)."""
        terms = self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance
        return 0.5 * terms.flatten(1).sum(dim=1)


class Autoencoder(nn.Module):
    """Pixels in [-1, 1] to scaled latents and back. `encode` and `decode` apply the scaling factor themselves."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        latent = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1) if config.quant_conv else None
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if config.post_quant_conv else None

    def posterior(self, images: Tensor) -> DiagonalGaussian:
        """The unscaled q(latents | images). Shapes: images (b, 3, h, w), h and w multiples of f.

        Raises: ValueError for other sizes.
        """
        factor = self.config.factor
        if images.shape[-2] % factor or images.shape[-1] % factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {tuple(images.shape[-2:])}")
        moments = self.encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.chunk(2, dim=1)
        return DiagonalGaussian(mean, log_variance.clamp(-30.0, 20.0))

    def encode(self, images: Tensor) -> Tensor:
        """The mean of the posterior, scaled. Shapes: images (b, 3, h, w). Returns (b, c, h/f, w/f)."""
        return self.scale(self.posterior(images).mean)

    def scale(self, latents: Tensor) -> Tensor:
        """From the autoencoder's units to the UNet's."""
        return (latents - self.config.shift_factor) * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Shapes: latents (b, c, h/f, w/f), scaled. Returns images (b, 3, h, w), about [-1, 1], not clamped."""
        unscaled = latents / self.config.scaling_factor + self.config.shift_factor
        if self.post_quant_conv is not None:
            unscaled = self.post_quant_conv(unscaled)
        images: Tensor = self.decoder(unscaled)
        return images


class Encoder(nn.Module):
    """Pixels (b, 3, h, w) to moments (b, 2 c, h/f, w/f)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, groups = config.channels, config.norm_groups
        self.conv_in = nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            block = Level(widths[max(level - 1, 0)], width, layers=config.layers_per_block, groups=groups)
            if level < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Downsample(width, pad_right_bottom=True)])
            self.down_blocks.append(block)
        self.mid_block = Middle(widths[-1], groups=groups, attention=config.mid_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv_in(images)
        for block in self.down_blocks:
            hidden = block(hidden)
        moments: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(hidden))))
        return moments


class Decoder(nn.Module):
    """Latents (b, c, h/f, w/f) to pixels (b, 3, h, w)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, groups = tuple(reversed(config.channels)), config.norm_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups=groups, attention=config.mid_attention)
        self.up_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            block = Level(widths[max(level - 1, 0)], width, layers=config.layers_per_block + 1, groups=groups)
            if level < len(widths) - 1:
                block.upsamplers = nn.ModuleList([Upsample(width)])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], config.image_channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        hidden = self.mid_block(self.conv_in(latents))
        for block in self.up_blocks:
            hidden = block(hidden)
        images: Tensor = self.conv_out(F.silu(self.conv_norm_out(hidden)))
        return images


class Level(nn.Module):
    """Residual blocks of one resolution, then half or twice the size where the owner attached a sampler."""

    def __init__(self, in_channels: int, out_channels: int, *, layers: int, groups: int) -> None:
        super().__init__()
        inputs = [in_channels] + [out_channels] * (layers - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, out_channels, time_dim=None, groups=groups, eps=1e-6) for channels in inputs
        )
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        for resnet in self.resnets:
            hidden = resnet(hidden)
        if self.downsamplers is not None:
            hidden = self.downsamplers[0](hidden)
        if self.upsamplers is not None:
            height, width = hidden.shape[-2:]
            hidden = self.upsamplers[0](hidden, (2 * height, 2 * width))
        return hidden


class Middle(nn.Module):
    """Residual, attention over all cells (where the model has it), residual."""

    def __init__(self, channels: int, *, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, channels, time_dim=None, groups=groups, eps=1e-6) for _ in range(2)
        )
        self.attentions = nn.ModuleList([SingleHeadAttention(channels, groups=groups)] if attention else [])

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.resnets[0](hidden)
        for attention in self.attentions:
            hidden = attention(hidden)
        out: Tensor = self.resnets[1](hidden)
        return out


def to_uint8(images: Tensor) -> Tensor:
    """Pixels (b, 3, h, w) in [-1, 1] to (b, h, w, 3) in 0..255, clamped and rounded."""
    return ((images.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
