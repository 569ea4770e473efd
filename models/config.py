"""What every network is made of: frozen dataclasses, and the presets of the bundled models.

A config says what the numbers are; it never says how a file spells them. The spelling of diffusers'
`config.json` is the business of `models.checkpoints.diffusers`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """The cross-attention UNet of Rombach et al. 2022, in the layout of Stable Diffusion.

    One entry a level, from the finest to the coarsest: `channels`, `attention` (does the level hold transformer
    blocks), `heads`, `only_cross_attention` (its self-attention looks at the text too: the x4 upscaler).
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    heads: tuple[int, ...]
    cross_attention_dim: int
    layers_per_block: int = 2
    transformer_depth: tuple[int, ...] = ()
    only_cross_attention: tuple[bool, ...] = ()
    linear_projection: bool = False
    norm_groups: int = 32
    norm_eps: float = 1e-5
    num_class_embeds: int | None = None
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0

    def __post_init__(self) -> None:
        levels = len(self.channels)
        if not self.transformer_depth:
            object.__setattr__(self, "transformer_depth", (1,) * levels)
        if not self.only_cross_attention:
            object.__setattr__(self, "only_cross_attention", (False,) * levels)
        for name in ("attention", "heads", "transformer_depth", "only_cross_attention"):
            count = len(getattr(self, name))
            if count != levels:
                raise ValueError(f"{name} must have one entry for each of the {levels} levels, got {count}")
        for name in ("in_channels", "out_channels", "cross_attention_dim", "layers_per_block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.norm_groups < 1 or min(self.heads) < 1:
            raise ValueError(f"norm_groups and heads must be at least 1, got {self.norm_groups} and {self.heads}")
        if self.channels[0] % 2 or not 0 <= self.freq_shift < self.channels[0] // 2:
            raise ValueError(
                f"the timestep's sinusoids need an even channels[0] and 0 <= freq_shift < channels[0] / 2, "
                f"got {self.channels[0]} and {self.freq_shift:g}"
            )
        for width, heads in zip(self.channels, self.heads, strict=True):
            if width % self.norm_groups:
                raise ValueError(f"channels must be multiples of norm_groups = {self.norm_groups}, got {width}")
            if width % heads:
                raise ValueError(
                    f"channels must be multiples of the heads of their level, got {width} for {heads} heads"
                )


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """The KL-regularised autoencoder of Rombach et al. 2022; it shrinks a side by f = 2^(levels - 1)."""

    channels: tuple[int, ...]
    latent_channels: int = 4
    image_channels: int = 3
    layers_per_block: int = 2
    norm_groups: int = 32
    mid_attention: bool = True
    quant_conv: bool = True
    post_quant_conv: bool = True
    scaling_factor: float = 0.18215
    shift_factor: float = 0.0

    def __post_init__(self) -> None:
        if self.norm_groups < 1:
            raise ValueError(f"norm_groups must be at least 1, got {self.norm_groups}")
        for width in self.channels:
            if width % self.norm_groups:
                raise ValueError(f"channels must be multiples of norm_groups = {self.norm_groups}, got {width}")

    @property
    def factor(self) -> int:
        """f: pixels of a side for one latent cell of a side."""
        return 1 << (len(self.channels) - 1)


@dataclass(frozen=True, slots=True)
class TextEncoderConfig:
    """CLIP's text transformer (Radford et al. 2021). `context_length` counts BOS and EOS."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    context_length: int = 77
    activation: str = "quick_gelu"
    mlp_width: int | None = None

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} for {self.heads} heads")
        if self.context_length < 3:
            raise ValueError(f"context_length must be at least 3, got {self.context_length}")


@dataclass(frozen=True, slots=True)
class Preset:
    """The networks of a bundled model, and the size at which it develops."""

    name: str
    native_size: int
    autoencoder: AutoencoderConfig
    unet: UNetConfig
    text_width: int
    text_layers: int
    text_heads: int
    context_length: int


# 9 input channels = latents (4), mask (1), masked latents (4): one UNet for text_to_image and inpaint.
# The sizes are what fits into a repository: 24 MiB of float16 in all, no file over 16 MiB.
PRESETS: dict[str, Preset] = {
    "cpu": Preset(
        name="cpu",
        native_size=64,
        autoencoder=AutoencoderConfig(
            channels=(32, 64, 64), layers_per_block=1, norm_groups=16, mid_attention=False, scaling_factor=1.0
        ),
        unet=UNetConfig(
            in_channels=9,
            out_channels=4,
            channels=(64, 128, 160),
            attention=(False, True, True),
            heads=(2, 4, 5),
            cross_attention_dim=192,
            layers_per_block=1,
        ),
        text_width=192,
        text_layers=3,
        text_heads=3,
        context_length=32,
    ),
    "gpu": Preset(
        name="gpu",
        native_size=128,
        autoencoder=AutoencoderConfig(
            channels=(48, 96, 96), layers_per_block=1, norm_groups=16, mid_attention=False, scaling_factor=1.0
        ),
        unet=UNetConfig(
            in_channels=9,
            out_channels=4,
            channels=(64, 96, 128, 192),
            attention=(False, True, True, True),
            heads=(2, 3, 4, 6),
            cross_attention_dim=192,
            layers_per_block=1,
        ),
        text_width=192,
        text_layers=3,
        text_heads=3,
        context_length=32,
    ),
    # An upscaler: 15 input channels = latents (12), the small picture (3). Twelve latent channels, since its
    # autoencoder must keep what an enlargement is about, and norms over all of them, since squares of one colour
    # must keep that colour; attention in the middle alone, so that large pictures stay cheap.
    "x4": Preset(
        name="x4",
        native_size=512,
        autoencoder=AutoencoderConfig(
            channels=(24, 48, 64),
            latent_channels=12,
            layers_per_block=1,
            norm_groups=1,
            mid_attention=False,
            scaling_factor=1.0,
        ),
        unet=UNetConfig(
            in_channels=15,
            out_channels=12,
            channels=(64, 96, 128),
            attention=(False, False, False),
            heads=(2, 3, 4),
            cross_attention_dim=64,
            layers_per_block=1,
            norm_groups=8,
            num_class_embeds=1000,
        ),
        text_width=64,
        text_layers=1,
        text_heads=2,
        context_length=32,
    ),
}
