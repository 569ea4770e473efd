"""Pictures as stage 2 sees them: latents, what is given of them, captions. Encoded anew each step, or once into a pool.

Axes: b batch, p pool, c latent channels, h height, w width (latent cells).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.autoencoder import Autoencoder
from models.tasks.given import to_cells
from models.training.batches import Batch, box_cells, step_generator
from models.training.config import DiffusionTraining
from models.training.masks import draw_masks
from models.training.parallel import ALONE, Group
from models.training.sources import Source, stream

CHUNK = 64  # scenes encoded at a time


@dataclass(frozen=True, slots=True)
class Encoded:
    """x0 (b, c, h, w); mask (b, 1, h, w), 1 = to be painted; masked, the latents of what the mask leaves
    (b, c, h, w); inside (b, 1, h, w), 1 = in an object's box; captions, b of them."""

    x0: Tensor
    mask: Tensor
    masked: Tensor
    inside: Tensor
    captions: tuple[str, ...]


class PictureEncoder:
    """Draws the pictures of a source and encodes them, each with a random mask."""

    def __init__(
        self, config: DiffusionTraining, source: Source, autoencoder: Autoencoder, group: Group = ALONE
    ) -> None:
        self.group = group
        self.config, self.source, self.size, self.autoencoder = config, source, config.size, autoencoder
        self.device = autoencoder.decoder.conv_in.weight.device
        with torch.no_grad():
            self.grey = self._encode(
                torch.zeros(1, 3, self.size, self.size)
            )  # the latents of a picture of which nothing is left

    def batches(self, first_step: int) -> Iterator[Encoded]:
        """Batches from a step on, without end, decided by seed and step alone."""
        if not self.config.pool_size:
            return self._fresh(first_step)
        return self._from_pool(first_step)

    def _fresh(self, first_step: int) -> Iterator[Encoded]:
        config = self.config
        for step, batch in enumerate(stream(self.source, config, first_step, self.group), start=first_step):
            yield self._given_to_some(self.encode(batch, step_generator(config.seed + 1, step, self.group.rank)))

    def _from_pool(self, first_step: int) -> Iterator[Encoded]:
        config = self.config
        pool = joined(
            [
                self.encode(
                    self.source.draw(chunk, CHUNK, seed=config.seed),
                    step_generator(config.seed + 2, chunk),
                )
                for chunk in range(-(-config.pool_size // CHUNK))
            ]
        )
        step = first_step
        while True:
            places = torch.randint(
                len(pool.captions), (config.batch_size,), generator=step_generator(config.seed + 1, step)
            )
            yield self._given_to_some(picked(pool, places[self.group.rank :: self.group.size]))
            step += 1

    @torch.no_grad()
    def encode(self, batch: Batch, generator: torch.Generator) -> Encoded:
        """The batch as latents, and with a mask a picture as the latents of what is left."""
        masks = draw_masks(batch.boxes, self.size, generator)
        factor = self.autoencoder.config.factor
        return Encoded(
            x0=self._encode(batch.images),
            mask=to_cells(masks, factor).to(self.device),
            masked=self._encode(batch.images * (masks < 0.5)),
            inside=box_cells(batch.boxes, self.size // factor).to(self.device),
            captions=batch.captions,
        )

    def _encode(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            latents = self.autoencoder.encode(images.to(self.device).contiguous(memory_format=torch.channels_last))
        return latents.float()

    def _given_to_some(self, encoded: Encoded) -> Encoded:
        """The same rows; the first are inpaint and keep their masks, the others are given nothing: text_to_image."""
        num_inpaint = len(encoded.captions) - round(self.config.full_mask_share * len(encoded.captions))
        mask, masked = encoded.mask.clone(), encoded.masked.clone()
        mask[num_inpaint:] = 1.0
        masked[num_inpaint:] = self.grey
        return Encoded(encoded.x0, mask, masked, encoded.inside, encoded.captions)


def joined(parts: Sequence[Encoded]) -> Encoded:
    """All rows of several batches."""
    return Encoded(
        x0=torch.cat([part.x0 for part in parts]),
        mask=torch.cat([part.mask for part in parts]),
        masked=torch.cat([part.masked for part in parts]),
        inside=torch.cat([part.inside for part in parts]),
        captions=tuple(caption for part in parts for caption in part.captions),
    )


def picked(pool: Encoded, places: Tensor) -> Encoded:
    """Some rows of a pool, in the order of `places` (b,)."""
    return Encoded(
        x0=pool.x0[places],
        mask=pool.mask[places],
        masked=pool.masked[places],
        inside=pool.inside[places],
        captions=tuple(pool.captions[place] for place in places.tolist()),
    )
