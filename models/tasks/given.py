"""What an inpainting network is told besides the noisy latents: where to paint, and what is there already.

Such a network was trained on 1 + 2 c channels, so it also does the tasks that give it nothing, or all.
Axes: c latent channels, h height, w width (latent cells in `shape`, pixels in pictures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import RequestError

if TYPE_CHECKING:
    from models.pipeline import Pipeline


def takes_mask(pipeline: Pipeline) -> bool:
    """Whether the network was trained for inpainting.

    Raises: RequestError if it takes neither latents alone, nor latents with a mask and masked latents.
    """
    channels, latent = pipeline.unet.config.in_channels, pipeline.autoencoder.config.latent_channels
    if channels not in (latent, 2 * latent + 1) or pipeline.unet.config.num_class_embeds is not None:
        raise RequestError("task", f"is not what the model was made for: it takes {channels} channels, and more")
    return channels != latent


def nothing_given(pipeline: Pipeline, shape: Sequence[int]) -> Tensor | None:
    """The further channels that say: nothing is there, paint it all; None where the network has none.

    Shapes: latents (c, h, w). Returns (1 + c, h, w). Raises: as `takes_mask`.
    """
    if not takes_mask(pipeline):
        return None
    height, width = (cells * pipeline.autoencoder.config.factor for cells in shape[-2:])
    grey = torch.zeros(1, 3, height, width)
    return given(pipeline, grey, torch.ones(1, 1, height, width))


def given(pipeline: Pipeline, image: Tensor, mask: Tensor) -> Tensor:
    """The further channels for a picture (1, 3, h, w) and what to repaint of it, mask (1, 1, h, w) of 0 and 1.

    Returns: (1 + c, h/f, w/f), the mask and the latents of what it leaves; what it takes is mid-grey.
    """
    cells = to_cells(mask, pipeline.autoencoder.config.factor)[0].to(pipeline.device)
    return torch.cat([cells, pipeline.encode_image(image * (mask < 0.5))])


def to_cells(mask: Tensor, factor: int) -> Tensor:
    """A mask over latent cells, by maximum, so that it never loses its edge: (1, 1, h, w) to (1, 1, h/f, w/f)."""
    return F.max_pool2d(mask, factor)
