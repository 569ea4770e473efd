"""Stage 2: the UNet and the text encoder, trained together on the latents of stage 1 (Rombach et al. 2022, eq. 3).

Axes: b batch, c latent channels, h height, w width (latent cells), k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.config import PRESETS, TextEncoderConfig
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.process import q_sample, snr, training_target
from models.schedule import Schedule, cosine_schedule
from models.tasks import TextToImage
from models.training.batches import draw_batch, seeded_weights, uniform
from models.training.config import DiffusionTraining
from models.training.contact_sheet import contact_sheet
from models.training.export import assemble
from models.training.latents import Encoded, SceneEncoder
from models.training.stages import STAGES
from models.training.tokenizer import train_tokenizer
from models.training.vocabulary import caption_corpus


class TextAndUNet(nn.Module):
    """What stage 2 trains, as one module with one set of weights."""

    def __init__(self, unet: UNet, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Shapes: x (b, 2 c + 1, h, w), timesteps (b,), tokens (b, chunks, length). Returns (b, c, h, w)."""
        prediction: Tensor = self.unet(x, timesteps, self.text_encoder(tokens))
        return prediction


def new_networks(config: DiffusionTraining) -> TextAndUNet:
    """Untrained networks of the config's preset, and a tokenizer for its scenes."""
    preset, stage = PRESETS[config.preset], STAGES[config.scenes]
    corpus = caption_corpus(stage, config.corpus_size)
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


class DiffusionObjective:
    """Algorithm 1 of Ho et al. 2020 on latents, with v as the target, on text_to_image and inpaint rows alike."""

    def __init__(self, config: DiffusionTraining, autoencoder: Autoencoder, device: torch.device) -> None:
        self.config, self.device = config, device
        self.stage, self.preset = STAGES[config.scenes], PRESETS[config.preset]
        self.autoencoder = autoencoder.to(device).eval().requires_grad_(False)
        self.schedule: Schedule = cosine_schedule(prediction="v")
        # On a CPU the backward of GroupNorm is slower in channels_last than the convolutions gain.
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.network: TextAndUNet = new_networks(config)
        self.tokenizer = self.network.text_encoder

    def batches(self, first_step: int) -> Iterator[Encoded]:
        """Encoded scenes of the stage at the native size."""
        encoder = SceneEncoder(self.config, self.stage, self.preset.native_size, self.autoencoder)
        return encoder.batches(first_step)

    def losses(self, batch: Encoded, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss`: squared error of v, weighted by level and by box; `mse`: the same without weights."""
        x0 = batch.x0
        t = spread_timesteps(len(x0), self.schedule.num_timesteps, generator)
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        x = q_sample(x0, t, noise, self.schedule)
        inputs = torch.cat([x, batch.mask, batch.masked], dim=1).contiguous(memory_format=self.memory_format)
        prediction = self.network(inputs, t.to(self.device), self._tokens(batch.captions, generator)).float()
        error = (prediction - training_target(x0, noise, t, self.schedule)).square()
        weight = level_weight(t, self.schedule, self.config.snr_ceiling).to(self.device).view(-1, 1, 1, 1)
        weight = weight * (1.0 + (self.config.box_weight - 1.0) * batch.inside)
        return {"loss": (error * weight).mean(), "mse": error.mean()}

    def _tokens(self, captions: Sequence[str], generator: torch.Generator) -> Tensor:
        """Captions as tokens, some of them emptied so that guidance has something to guide away from."""
        dropped = (uniform(len(captions), generator) < self.config.caption_dropout).tolist()
        kept = ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]
        return self.tokenizer.tokenize(kept).to(self.device)

    @torch.no_grad()
    def grid(self, network: TextAndUNet) -> Image.Image:
        """Held-out captions as pictures, one seed each."""
        pipeline = assemble(
            network.unet,
            self.autoencoder,
            network.text_encoder,
            self.schedule,
            self.stage,
            "training",
            self.preset,
        )
        captions = draw_batch(self.stage, self.preset.native_size, 0, 24, split="held_out").captions
        pictures = []
        for seed, caption in enumerate(captions):
            request = TextToImage(
                prompt=caption,
                seed=seed,
                num_steps=self.config.grid_steps,
                guidance_scale=self.config.grid_guidance_scale,
            )
            pictures.append(pipeline.generate(request)[0])
        return contact_sheet([np.asarray(picture) for picture in pictures], columns=8, captions=captions)


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
