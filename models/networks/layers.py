"""Building blocks that the UNet and the autoencoder share.

Axes: b batch, c channels, h height, w width, d width of the time embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def timestep_embedding(timesteps: Tensor, dim: int, *, flip_sin_to_cos: bool = True, freq_shift: float = 0.0) -> Tensor:
    """Sinusoids of the timestep, always in float32.

    Shapes: timesteps (b,), fractional allowed. Returns (b, dim).
    Raises: ValueError for an odd dim.
    Source: Vaswani et al. 2017, sec. 3.5; Ho et al. 2020, appendix B.
    """
    if dim % 2:
        raise ValueError(f"the dimension of a timestep embedding must be even, got {dim}")
    half = dim // 2
    exponent = (
        -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / (half - freq_shift)
    )
    angles = timesteps.float()[:, None] * exponent.exp()[None, :]  # (b, dim / 2)
    parts = (angles.cos(), angles.sin()) if flip_sin_to_cos else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=1)


class TimestepEmbedding(nn.Module):
    """Two linear layers that turn sinusoids (b, c) into what the residual blocks listen to (b, d)."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, sinusoids: Tensor) -> Tensor:
        hidden: Tensor = self.linear_2(F.silu(self.linear_1(sinusoids)))
        return hidden


class ResnetBlock(nn.Module):
    """Two normalised convolutions around a shift by the time embedding, plus the input (Ho et al. 2020, appendix B)."""

    def __init__(self, in_channels: int, out_channels: int, *, time_dim: int | None, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_dim, out_channels) if time_dim is not None else None
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Shapes: x (b, c_in, h, w), time (b, d). Returns (b, c_out, h, w)."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            hidden = hidden + self.time_emb_proj(F.silu(time))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        skip = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return skip + hidden  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Halves height and width by a strided convolution. The autoencoder pads only right and bottom."""

    def __init__(self, channels: int, *, pad_right_bottom: bool = False) -> None:
        super().__init__()
        self.pad_right_bottom = pad_right_bottom
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if pad_right_bottom else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (b, c, h, w). Returns (b, c, ceil(h / 2), ceil(w / 2)); with pad_right_bottom, floors."""
        padded = F.pad(x, (0, 1, 0, 1)) if self.pad_right_bottom else x
        smaller: Tensor = self.conv(padded)
        return smaller


class Upsample(nn.Module):
    """Repeats cells until `size` is reached, then convolves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Shapes: x (b, c, h, w). Returns (b, c, *size): sizes that are odd on the way down need it said."""
        larger: Tensor = self.conv(F.interpolate(x, size=size, mode="nearest"))
        return larger
