"""The upscaler: a UNet that is shown the picture at a quarter of its side (Rombach et al. 2022, section 4.4).

The small picture lies beside the noisy latents, cell by pixel, noised by a random level that is the class label
(Ho et al. 2021, conditioning augmentation): so it forgives what is wrong with the pictures that it is given.

Axes: b batch, p pool, c latent channels, h height, w width (latent cells, and pixels of the small picture).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.config import PRESETS
from models.networks.autoencoder import Autoencoder, to_uint8
from models.pipeline import LowResNoise, Pipeline
from models.process import add_noise, q_sample, training_target
from models.schedule import Schedule, cosine_schedule, linear_schedule
from models.tasks import SuperResolution
from models.tasks.consistency import box_average
from models.training.batches import Batch, step_generator, uniform
from models.training.config import SuperResolutionTraining
from models.training.contact_sheet import contact_sheet
from models.training.export import assemble_upscaler
from models.training.latent_networks import TextAndUNet, drop_captions, level_weight, new_networks, spread_timesteps
from models.training.parallel import ALONE, Group
from models.training.sources import open_source, stream

CHUNK = 64  # pictures encoded at a time


@dataclass(frozen=True, slots=True)
class Enlargements:
    """x0 (b, c, h, w), the latents of pictures; small (b, 3, h, w), the pictures at a quarter; b captions."""

    x0: Tensor
    small: Tensor
    captions: tuple[str, ...]


def low_res_noise(max_level: int) -> LowResNoise:
    """How the small picture is noised: by up to 1.5 % of its range at the default level 20, and 25 % at level 350."""
    return LowResNoise(linear_schedule(1000, 1e-6, 1e-3), max_level)


class SuperResolutionObjective:
    """Algorithm 1 of Ho et al. 2020 on the latents of pictures, with v as the target, given the small picture."""

    def __init__(
        self,
        config: SuperResolutionTraining,
        autoencoder: Autoencoder,
        device: torch.device,
        *,
        group: Group = ALONE,
    ) -> None:
        self.config, self.device, self.group = config, device, group
        self.source, self.preset = open_source(config), PRESETS[config.preset]
        self.autoencoder = autoencoder.to(device).eval().requires_grad_(False)
        self.schedule: Schedule = cosine_schedule(prediction="v")
        self.low_res = low_res_noise(config.max_noise_level)
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.network: TextAndUNet = new_networks(config, self.source)
        self.tokenizer = self.network.text_encoder

    def batches(self, first_step: int) -> Iterator[Enlargements]:
        """Encoded pictures: new ones each step, or those of a pool."""
        if not self.config.pool_size:
            return map(self.encode, stream(self.source, self.config, first_step, self.group))
        return self._from_pool(first_step)

    def _from_pool(self, first_step: int) -> Iterator[Enlargements]:
        config = self.config
        chunks = range(-(-config.pool_size // CHUNK))
        parts = [self.encode(self.source.draw(chunk, CHUNK, seed=config.seed)) for chunk in chunks]
        x0, small = torch.cat([part.x0 for part in parts]), torch.cat([part.small for part in parts])
        captions = [caption for part in parts for caption in part.captions]
        step = first_step
        while True:
            generator = step_generator(config.seed + 1, step)
            places = torch.randint(len(captions), (config.batch_size,), generator=generator)
            places = places[self.group.rank :: self.group.size]
            yield Enlargements(x0[places], small[places], tuple(captions[place] for place in places.tolist()))
            step += 1

    @torch.no_grad()
    def encode(self, batch: Batch) -> Enlargements:
        """Pictures as latents, and shrunk as a picture of 8 bit would be."""
        images = batch.images.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            x0 = self.autoencoder.encode(images).float()
        return Enlargements(x0, shrunk(images, self.autoencoder.config.factor), batch.captions)

    def losses(self, batch: Enlargements, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss`: squared error of v, weighted by level; `mse`: the same without weights."""
        x0, count = batch.x0, len(batch.captions)
        t = spread_timesteps(count, self.schedule.num_timesteps, generator)
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        # mostly little: most pictures are good
        labels = (uniform(count, generator).square() * (self.config.max_noise_level + 1)).long()
        levels = self.low_res.schedule.alpha_bar[labels].view(-1, 1, 1, 1).to(self.device)
        small_noise = torch.randn(batch.small.shape, generator=generator).to(self.device)
        small = add_noise(batch.small, small_noise, levels).float()
        x = q_sample(x0, t, noise, self.schedule)
        inputs = torch.cat([x, small], dim=1).contiguous(memory_format=self.memory_format)
        kept = drop_captions(batch.captions, self.config.caption_dropout, generator)
        tokens = self.tokenizer.tokenize(kept).to(self.device)
        prediction = self.network(inputs, t.to(self.device), tokens, labels.to(self.device)).float()
        error = (prediction - training_target(x0, noise, t, self.schedule)).square()
        weight = level_weight(t, self.schedule, self.config.snr_ceiling).to(self.device).view(-1, 1, 1, 1)
        return {"loss": (error * weight).mean(), "mse": error.mean()}

    def pipeline(self, network: TextAndUNet, name: str) -> Pipeline:
        """The networks as a model of this name."""
        return assemble_upscaler(
            network.unet,
            self.autoencoder,
            network.text_encoder,
            self.schedule,
            name,
            native_size=self.preset.native_size,
            low_res=self.low_res,
        )

    @torch.no_grad()
    def grid(self, network: TextAndUNet) -> Image.Image:
        """Held-out pictures in three rows: enlarged bicubically, enlarged by the network, as they are."""
        images = self.source.draw(0, 12, split="held_out").images
        return enlargements(self.pipeline(network, "training"), images, num_steps=self.config.grid_steps)


@torch.no_grad()
def enlargements(upscaler: Pipeline, images: Tensor, *, num_steps: int) -> Image.Image:
    """Pictures (b, 3, h, w) in three rows: enlarged bicubically, enlarged by the model unguided, as they are."""
    small = to_uint8(shrunk(images, upscaler.autoencoder.config.factor)).cpu().numpy()
    side = images.shape[-1]
    bicubic = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in small]
    requests = [SuperResolution(image=one, num_steps=num_steps, guidance_scale=1.0) for one in small]
    ours = [upscaler.generate(request)[0] for request in requests]
    return contact_sheet([*bicubic, *ours, *to_uint8(images).cpu().numpy()], columns=len(small))


def shrunk(images: Tensor, factor: int) -> Tensor:
    """Pictures at 1 / factor of their sides, by the mean of each box, in steps of 8 bit: (b, 3, h f, w f) to h, w."""
    boxes = box_average(images, factor)
    return ((boxes + 1.0) * 127.5).round() / 127.5 - 1.0
