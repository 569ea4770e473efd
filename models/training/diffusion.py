"""Stage 2: the UNet and the text encoder, trained together on the latents of stage 1 (Rombach et al. 2022, eq. 3).

Axes: b batch, c latent channels, h height, w width (latent cells), k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.networks.autoencoder import Autoencoder
from models.pipeline import Pipeline
from models.process import q_sample, training_target
from models.schedule import cosine_schedule
from models.tasks import TextToImage
from models.training.config import DiffusionTraining
from models.training.contact_sheet import contact_sheet
from models.training.export import assemble
from models.training.latent_networks import TextAndUNet, drop_captions, level_weight, new_networks, spread_timesteps
from models.training.latents import Encoded, PictureEncoder
from models.training.parallel import ALONE, Group
from models.training.sources import open_source


class DiffusionObjective:
    """Algorithm 1 of Ho et al. 2020 on latents, with the schedule's target, on text_to_image and inpaint rows alike."""

    def __init__(
        self,
        config: DiffusionTraining,
        autoencoder: Autoencoder,
        device: torch.device,
        *,
        base: Pipeline | None = None,
        group: Group = ALONE,
    ) -> None:
        """Train new networks of the config's preset on a cosine schedule, or those of `base` on its own."""
        self.config, self.device, self.base, self.group = config, device, base, group
        self.source = open_source(config)
        self.autoencoder = autoencoder.to(device).eval().requires_grad_(False)
        self.schedule = cosine_schedule(prediction="v") if base is None else base.schedule
        # On a CPU the backward of GroupNorm is slower in channels_last than the convolutions gain.
        self.memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        if base is None:
            self.network = new_networks(config, self.source)
        else:
            self.network = TextAndUNet(base.unet, base.text_encoder).requires_grad_(True).train()
        self.is_told_the_mask = self.network.unet.config.in_channels > autoencoder.config.latent_channels
        self.tokenizer = self.network.text_encoder

    def batches(self, first_step: int) -> Iterator[Encoded]:
        """Encoded pictures of the source."""
        return PictureEncoder(self.config, self.source, self.autoencoder, self.group).batches(first_step)

    def losses(self, batch: Encoded, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss`: squared error of v, weighted by level and by box; `mse`: the same without weights."""
        x0 = batch.x0
        t = spread_timesteps(len(x0), self.schedule.num_timesteps, generator)
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        x = q_sample(x0, t, noise, self.schedule)
        inputs = torch.cat([x, batch.mask, batch.masked], dim=1) if self.is_told_the_mask else x
        inputs = inputs.contiguous(memory_format=self.memory_format)
        prediction = self.network(inputs, t.to(self.device), self._tokens(batch.captions, generator)).float()
        error = (prediction - training_target(x0, noise, t, self.schedule)).square()
        weight = level_weight(t, self.schedule, self.config.snr_ceiling).to(self.device).view(-1, 1, 1, 1)
        weight = weight * (1.0 + (self.config.box_weight - 1.0) * batch.inside)
        return {"loss": (error * weight).mean(), "mse": error.mean()}

    def _tokens(self, captions: Sequence[str], generator: torch.Generator) -> Tensor:
        kept = drop_captions(captions, self.config.caption_dropout, generator)
        return self.tokenizer.tokenize(kept).to(self.device)

    def pipeline(self, network: TextAndUNet, name: str) -> Pipeline:
        """The networks as a model of this name."""
        if self.base is not None:
            card = replace(self.base.card, name=name, revision="unsaved", examples=self.source.examples())
            return replace(self.base, unet=network.unet, text_encoder=network.text_encoder, card=card)
        return assemble(
            network.unet,
            self.autoencoder,
            network.text_encoder,
            self.schedule,
            name,
            native_size=self.config.size,
            source=self.source,
        )

    @torch.no_grad()
    def grid(self, network: TextAndUNet) -> Image.Image:
        """Held-out captions as pictures, one seed each."""
        pipeline = self.pipeline(network, "training")
        captions = self.source.draw(0, 24, split="held_out").captions
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
