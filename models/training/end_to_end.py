"""The last stage of an upscaler: UNet and decoder together, by the pixels that come of them.

The stages before taught the decoder what an encoder saw, and the UNet to be right about every latent number alike,
most of which nobody sees. Here the UNet's estimate of x0 is decoded, its colours are put right as `SuperResolution`
does, and what counts is how far its pixels are from the picture's. Half of the estimates are made of pure noise, the
others at all levels, so that more steps go on being better steps. The encoder, and so the space of latents, stays.

Axes: b batch, c latent channels, h height, w width (latent cells, and pixels of the small picture).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor, nn

from models.networks.autoencoder import Autoencoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise, Pipeline
from models.process import add_noise, at, q_sample, to_x0
from models.tasks.consistency import keep_colours
from models.tasks.super_resolution import NOISE_LEVEL
from models.training.batches import Batch
from models.training.config import EndToEndTraining
from models.training.latent_networks import spread_timesteps
from models.training.parallel import ALONE, Group
from models.training.sources import open_source, stream
from models.training.super_resolution import enlargements, shrunk


class Enlarger(nn.Module):
    """What is trained: the two networks that a small picture passes. The encoder is carried along and frozen."""

    def __init__(self, unet: UNet, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(True)
        self.autoencoder = autoencoder.requires_grad_(True)
        for part in (autoencoder.encoder, autoencoder.quant_conv):
            if part is not None:
                part.requires_grad_(False)


class EndToEndObjective:
    """Squared error of pixels, and a little L1."""

    def __init__(
        self, config: EndToEndTraining, upscaler: Pipeline, device: torch.device, *, group: Group = ALONE
    ) -> None:
        if upscaler.low_res is None:
            raise ValueError(f"{upscaler.card.name} enlarges no pictures: give an upscaler")
        self.config, self.device, self.group = config, device, group
        self.source, self.upscaler = open_source(config), upscaler
        self.low_res: LowResNoise = upscaler.low_res
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.network = Enlarger(upscaler.unet, upscaler.autoencoder)
        text = upscaler.text_encoder.requires_grad_(False)
        self.states = text(text.tokenize([""]).to(device))

    def batches(self, first_step: int) -> Iterator[Batch]:
        """What the config says to learn from."""
        return stream(self.source, self.config, first_step, self.group)

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss` = mse + l1_weight * l1 of the pictures; `from_noise` the mse of those that began as pure noise."""
        images = batch.images.to(self.device)
        small = shrunk(images, self.network.autoencoder.config.factor)
        with torch.no_grad():
            x0 = self.network.autoencoder.encode(images).float()
        schedule, count = self.upscaler.schedule, len(x0)
        t = spread_timesteps(count, schedule.num_timesteps, generator)
        t[::2] = schedule.num_timesteps - 1
        decoded = self.network.autoencoder.decode(self.estimate(x0, small, t, generator)).float()
        error = keep_colours(decoded, small) - images
        mse = error.square().mean(dim=(1, 2, 3))  # (b,)
        loss = mse.mean() + self.config.l1_weight * error.abs().mean()
        return {"loss": loss, "mse": mse.mean(), "from_noise": mse[::2].mean()}

    def estimate(self, x0: Tensor, small: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """What the UNet believes the latents to be, noised up to t and beside the small pictures.

        Shapes: x0 (b, c, h, w), small (b, 3, h, w), t (b,). Returns (b, c, h, w).
        """
        schedule, count = self.upscaler.schedule, len(x0)
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        small_noise = torch.randn(small.shape, generator=generator).to(self.device)
        noised = add_noise(small, small_noise, self.low_res.schedule.alpha_bar[NOISE_LEVEL].to(self.device)).float()
        x = q_sample(x0, t, noise, schedule).float()
        labels = torch.full((count,), NOISE_LEVEL, device=self.device)
        states = self.states.expand(count, *self.states.shape[1:])
        inputs = torch.cat([x, noised], dim=1).contiguous(memory_format=self.memory_format)
        prediction = self.network.unet(inputs, t.to(self.device), states, labels).float()
        return to_x0(prediction, x, at(schedule.alpha_bar, t, x), schedule.prediction).float()

    @torch.no_grad()
    def grid(self, network: Enlarger) -> Image.Image:
        """Held-out pictures in three rows: enlarged bicubically, enlarged by the networks, as they are."""
        return enlargements(self.pipeline(network), self.source.draw(0, 12, split="held_out").images, num_steps=1)

    def pipeline(self, network: Enlarger) -> Pipeline:
        """The upscaler with these networks."""
        return replace(self.upscaler, unet=network.unet, autoencoder=network.autoencoder)
