"""The last stage of an upscaler: its decoder learns from latents as the UNet makes them.

Stage 1 taught it to decode what an encoder saw. What a UNet predicts from a small picture is softer, and wrong in its
own ways; a decoder that has seen such latents beside their pictures comes nearer to the picture. The encoder, and so
the space of latents, stays as it is; half of the rows are still what the encoder saw.

Axes: b batch, c latent channels, h height, w width (latent cells, and pixels of the small picture).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from models.networks.autoencoder import Autoencoder
from models.pipeline import LowResNoise, Pipeline
from models.process import add_noise, to_x0
from models.tasks.consistency import keep_colours
from models.tasks.super_resolution import NOISE_LEVEL
from models.training.batches import Batch
from models.training.config import DecoderTraining
from models.training.parallel import ALONE, Group
from models.training.sources import open_source, stream
from models.training.super_resolution import enlargements, shrunk


class DecoderObjective:
    """Squared error of pixels, and a little L1, after colours are put right as `SuperResolution` does."""

    def __init__(
        self, config: DecoderTraining, upscaler: Pipeline, device: torch.device, *, group: Group = ALONE
    ) -> None:
        if upscaler.low_res is None:
            raise ValueError(f"{upscaler.card.name} enlarges no pictures: give an upscaler")
        self.config, self.device, self.group = config, device, group
        self.source, self.upscaler = open_source(config), upscaler
        self.low_res: LowResNoise = upscaler.low_res
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.network = upscaler.autoencoder.requires_grad_(True)
        for part in (self.network.encoder, self.network.quant_conv):
            if part is not None:
                part.requires_grad_(False)
        self.factor = self.network.config.factor
        self.states = upscaler.text_encoder(upscaler.text_encoder.tokenize([""]).to(device))

    def batches(self, first_step: int) -> Iterator[Batch]:
        """What the config says to learn from."""
        return stream(self.source, self.config, first_step, self.group)

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss` = mse + l1_weight * l1, of pictures decoded from guesses and from what the encoder saw, by turns."""
        images = batch.images.to(self.device)
        small = shrunk(images, self.factor)
        with torch.no_grad():
            seen = self.network.encode(images)
            is_guess = (torch.arange(len(seen)) % 2 == 0).view(-1, 1, 1, 1).to(self.device)
            latents = torch.where(is_guess, self.guess(small, seen.shape, generator), seen)
        restored = keep_colours(self.network.decode(latents).float(), small)
        error = (restored - images).square().mean(dim=(1, 2, 3))
        l1 = (restored - images).abs().mean()
        mse = error.mean()
        guessed = error[::2].mean()
        return {"loss": mse + self.config.l1_weight * l1, "mse": mse, "guessed": guessed}

    def guess(self, small: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """What the UNet makes of small pictures (b, 3, h, w) in one step from noise: latents (b, c, h, w)."""
        unet, schedule, count = self.upscaler.unet, self.upscaler.schedule, len(small)
        noise = torch.randn(shape, generator=generator).to(self.device)
        level = NOISE_LEVEL
        small_noise = torch.randn(small.shape, generator=generator).to(self.device)
        noised = add_noise(small, small_noise, self.low_res.schedule.alpha_bar[level].to(self.device)).float()
        t = torch.full((count,), schedule.num_timesteps - 1, device=self.device)
        labels = torch.full((count,), level, device=self.device)
        states = self.states.expand(count, *self.states.shape[1:])
        prediction = unet(torch.cat([noise, noised], dim=1), t, states, labels).float()
        alpha_bar = schedule.alpha_bar[schedule.num_timesteps - 1].to(self.device)
        return to_x0(prediction, noise, alpha_bar, schedule.prediction).float()

    @torch.no_grad()
    def grid(self, network: Autoencoder) -> Image.Image:
        """Held-out pictures in three rows: enlarged bicubically, enlarged by the networks, as they are."""
        return enlargements(self.pipeline(network), self.source.draw(0, 12, split="held_out").images, num_steps=1)

    def pipeline(self, network: Autoencoder) -> Pipeline:
        """The upscaler with this autoencoder."""
        return replace(self.upscaler, autoencoder=network)
