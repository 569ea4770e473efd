"""Stage 2: the UNet and the text encoder, trained together on the latents of stage 1 (Rombach et al. 2022, eq. 3).

Axes: b batch, c latent channels, h height, w width (latent cells), k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.config import PRESETS
from models.networks.autoencoder import Autoencoder
from models.process import q_sample, training_target
from models.schedule import Schedule, cosine_schedule
from models.tasks import TextToImage
from models.training.batches import draw_batch
from models.training.config import DiffusionTraining
from models.training.contact_sheet import contact_sheet
from models.training.export import assemble
from models.training.latent_networks import TextAndUNet, drop_captions, level_weight, new_networks, spread_timesteps
from models.training.latents import Encoded, SceneEncoder
from models.training.stages import STAGES


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
        kept = drop_captions(captions, self.config.caption_dropout, generator)
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
