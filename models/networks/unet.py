"""The denoiser: a UNet with cross-attention to the text (Rombach et al. 2022, fig. 3).

Axes: b batch, c channels, h height, w width, k text tokens, d text width, t width of the time embedding.
Module names are those of the diffusers format, so Stable Diffusion's weights need no renaming.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import UNetConfig
from models.networks.attention import SpatialTransformer
from models.networks.layers import Downsample, ResnetBlock, TimestepEmbedding, Upsample, timestep_embedding


class UNet(nn.Module):
    """Predicts eps, v or x0 from noisy latents, a timestep and text."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, levels = config.channels, len(config.channels)
        time_dim = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], time_dim)
        self.class_embedding = nn.Embedding(config.num_class_embeds, time_dim) if config.num_class_embeds else None

        self.down_blocks = nn.ModuleList(
            DownBlock(config, level, in_channels=widths[max(level - 1, 0)], time_dim=time_dim)
            for level in range(levels)
        )
        self.mid_block = MidBlock(config, time_dim=time_dim)
        self.up_blocks = nn.ModuleList(
            UpBlock(config, level, in_channels=widths[min(level + 1, levels - 1)], time_dim=time_dim)
            for level in reversed(range(levels))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, timesteps: Tensor, text: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """One prediction for every row.

        Shapes: x (b, c_in, h, w) any h and w; timesteps (b,), fractional allowed; text (b, k, d);
        class_labels (b,) integers, for models with class or noise-level embedding. Returns (b, c_out, h, w).
        Raises: ValueError if class_labels are missing, or given to a model that has none.
        """
        time = self.embed_time(timesteps, class_labels, dtype=x.dtype)
        hidden = self.conv_in(x)
        skips = [hidden]
        for down in self.down_blocks:
            hidden = down(hidden, time, text, skips)
        hidden = self.mid_block(hidden, time, text)
        for up in self.up_blocks:
            hidden = up(hidden, time, text, skips)
        prediction: Tensor = self.conv_out(F.silu(self.conv_norm_out(hidden)))
        return prediction

    def embed_time(self, timesteps: Tensor, class_labels: Tensor | None, *, dtype: torch.dtype) -> Tensor:
        """Shapes: timesteps (b,), class_labels (b,) or None. Returns (b, t)."""
        sinusoids = timestep_embedding(
            timesteps,
            self.config.channels[0],
            flip_sin_to_cos=self.config.flip_sin_to_cos,
            freq_shift=self.config.freq_shift,
        )
        time: Tensor = self.time_embedding(sinusoids.to(dtype))
        if (self.class_embedding is None) != (class_labels is None):
            raise ValueError("class_labels must be given exactly to models with a class or noise-level embedding")
        if self.class_embedding is not None and class_labels is not None:
            time = time + self.class_embedding(class_labels)
        return time


def _transformer(config: UNetConfig, level: int, *, in_middle: bool = False) -> SpatialTransformer:
    return SpatialTransformer(
        config.channels[level],
        heads=config.heads[level],
        context_dim=config.cross_attention_dim,
        depth=config.transformer_depth[level],
        groups=config.norm_groups,
        linear=config.linear_projection,
        only_cross_attention=config.only_cross_attention[level] and not in_middle,
    )


def _resnet(config: UNetConfig, in_channels: int, out_channels: int, time_dim: int) -> ResnetBlock:
    return ResnetBlock(in_channels, out_channels, time_dim=time_dim, groups=config.norm_groups, eps=config.norm_eps)


class DownBlock(nn.Module):
    """One level on the way down: residual blocks, with transformers where the level attends; then half the size."""

    def __init__(self, config: UNetConfig, level: int, *, in_channels: int, time_dim: int) -> None:
        super().__init__()
        width, layers = config.channels[level], config.layers_per_block
        inputs = [in_channels] + [width] * (layers - 1)
        self.resnets = nn.ModuleList(_resnet(config, channels, width, time_dim) for channels in inputs)
        if config.attention[level]:
            self.attentions = nn.ModuleList(_transformer(config, level) for _ in inputs)
        if level < len(config.channels) - 1:
            self.downsamplers = nn.ModuleList([Downsample(width)])
        self.attends, self.shrinks = config.attention[level], level < len(config.channels) - 1

    def forward(self, hidden: Tensor, time: Tensor, text: Tensor, skips: list[Tensor]) -> Tensor:
        """Shapes: hidden (b, c_in, h, w), time (b, t), text (b, k, d). Appends its skips. Returns (b, c, h/2, w/2)."""
        for index, resnet in enumerate(self.resnets):
            hidden = resnet(hidden, time)
            if self.attends:
                hidden = self.attentions[index](hidden, text)
            skips.append(hidden)
        if self.shrinks:
            hidden = self.downsamplers[0](hidden)
            skips.append(hidden)
        return hidden


class MidBlock(nn.Module):
    """The coarsest level once more: residual, transformer, residual."""

    def __init__(self, config: UNetConfig, *, time_dim: int) -> None:
        super().__init__()
        width, deepest = config.channels[-1], len(config.channels) - 1
        self.attentions = nn.ModuleList([_transformer(config, deepest, in_middle=True)])
        self.resnets = nn.ModuleList(_resnet(config, width, width, time_dim) for _ in range(2))

    def forward(self, hidden: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """Shapes: hidden (b, c, h, w), time (b, t), text (b, k, d). Returns (b, c, h, w)."""
        hidden = self.resnets[0](hidden, time)
        hidden = self.attentions[0](hidden, text)
        out: Tensor = self.resnets[1](hidden, time)
        return out


class UpBlock(nn.Module):
    """One level on the way up: joins the skips it takes off the stack; then the size of the next finer skip."""

    def __init__(self, config: UNetConfig, level: int, *, in_channels: int, time_dim: int) -> None:
        super().__init__()
        width, layers = config.channels[level], config.layers_per_block + 1
        finer = config.channels[max(level - 1, 0)]
        hidden_widths = [in_channels] + [width] * (layers - 1)
        skip_widths = [width] * (layers - 1) + [finer]
        self.resnets = nn.ModuleList(
            _resnet(config, hidden + skip, width, time_dim)
            for hidden, skip in zip(hidden_widths, skip_widths, strict=True)
        )
        if config.attention[level]:
            self.attentions = nn.ModuleList(_transformer(config, level) for _ in range(layers))
        if level > 0:
            self.upsamplers = nn.ModuleList([Upsample(width)])
        self.attends, self.grows = config.attention[level], level > 0

    def forward(self, hidden: Tensor, time: Tensor, text: Tensor, skips: list[Tensor]) -> Tensor:
        """Shapes: hidden (b, c_in, h, w), time (b, t), text (b, k, d). Takes its skips. Returns (b, c, 2h, 2w)."""
        for index, resnet in enumerate(self.resnets):
            hidden = resnet(torch.cat((hidden, skips.pop()), dim=1), time)  # (b, c_in + c_skip, h, w)
            if self.attends:
                hidden = self.attentions[index](hidden, text)
        if self.grows:
            height, width = skips[-1].shape[-2:]
            hidden = self.upsamplers[0](hidden, (height, width))
        return hidden
