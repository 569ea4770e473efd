"""What the runs on latents have in common: networks, timesteps, weights of the loss, dropped captions.

Axes: b batch, c latent channels, h height, w width (latent cells), k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.config import PRESETS, TextEncoderConfig
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.process import snr
from models.schedule import Schedule
from models.training.batches import seeded_weights, uniform
from models.training.config import LatentTraining
from models.training.sources import Source
from models.training.tokenizer import train_tokenizer


class TextAndUNet(nn.Module):
    """What is trained on latents, as one module with one set of weights."""

    def __init__(self, unet: UNet, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Shapes: x (b, c_in, h, w); timesteps, class_labels (b,); tokens (b, chunks, length). Returns (b, c, h, w)."""
        prediction: Tensor = self.unet(x, timesteps, self.text_encoder(tokens), class_labels)
        return prediction


def new_networks(config: LatentTraining, source: Source) -> TextAndUNet:
    """Untrained networks of the config's preset, and a tokenizer for the source's captions."""
    preset, corpus = PRESETS[config.preset], source.corpus(config.corpus_size)
    tokenizer = train_tokenizer(corpus, max_merges=config.max_merges, context_length=preset.context_length)
    text = TextEncoderConfig(
        vocab_size=max(tokenizer.get_vocab().values()) + 1,
        width=preset.text_width,
        layers=preset.text_layers,
        heads=preset.text_heads,
        context_length=preset.context_length,
    )
    with seeded_weights(config.seed):
        unet = UNet(preset.unet)
        silence_residuals(unet)
        return TextAndUNet(unet, TextEncoder(text, tokenizer))


def silence_residuals(unet: UNet) -> None:
    """Starts every residual branch at zero: the network begins as nearly nothing (Ho et al. 2020, appendix B)."""
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def spread_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> Tensor:
    """One timestep a row, spread evenly over all of them and shuffled: less noise in the loss than independent draws.

    Returns: (count,) integers in 0..num_timesteps-1.
    Source: Kingma et al. 2021, appendix I.1 (low-discrepancy sampler).
    """
    places = (torch.arange(count) + uniform(1, generator)) / count  # in [0, 1]
    shuffled = places[torch.randperm(count, generator=generator)]
    return (shuffled * num_timesteps).long().clamp(max=num_timesteps - 1)


def level_weight(t: Tensor, schedule: Schedule, ceiling: float) -> Tensor:
    """min(1, ceiling / (snr + 1)): all of the weight where the layout is decided, less where only noise is left to see.

    Shapes: t (b,). Returns (b,). The min-SNR weight for v (Hang et al. 2023) would vanish at high noise; this does not.
    """
    return (ceiling / (snr(t, schedule) + 1.0)).clamp(max=1.0)


def drop_captions(captions: Sequence[str], share: float, generator: torch.Generator) -> list[str]:
    """Captions, some of them emptied, so that guidance has something to guide away from (Ho & Salimans 2022)."""
    dropped = (uniform(len(captions), generator) < share).tolist()
    return ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]
