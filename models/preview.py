"""A cheap look at latents: the linear map to RGB that fits the decoder best.

Axes: b batch, c latent channels, h height, w width (latent cells).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.networks.autoencoder import Autoencoder
from models.pixels import to_pixels


@dataclass(frozen=True, slots=True)
class LatentToRgb:
    """pixels = weight latents + bias, a cell. Shapes: weight (3, c), bias (3,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, latents: Tensor) -> Tensor:
        """Shapes: latents (b, c, h, w). Returns (b, 3, h, w), about [-1, 1]."""
        mixed = torch.einsum("oc,bchw->bohw", self.weight.to(latents.device), latents.float())
        return mixed + self.bias.to(latents.device)[None, :, None, None]

    @torch.inference_mode()
    def picture(self, x0: Tensor) -> NDArray[np.uint8]:
        """Predicted clean latents (c, h, w) as a small picture: (h, w, 3) uint8, one pixel a cell."""
        return to_pixels(self(x0[None])[0])


@torch.inference_mode()
def fit_latent_to_rgb(autoencoder: Autoencoder, latents: Tensor | None = None) -> LatentToRgb:
    """Least squares of the decoded pixels, averaged over each cell, on the latents (b, c, h, w).

    Latents of real pictures fit best; without any, smooth random ones serve.
    """
    weight = autoencoder.decoder.conv_in.weight
    if latents is None:
        coarse = torch.randn(4, weight.shape[1], 6, 6, generator=torch.Generator().manual_seed(0))
        latents = F.interpolate(coarse, scale_factor=4, mode="bilinear")
    images = autoencoder.decode(latents.to(weight.device, weight.dtype)).float().clamp(-1, 1)
    cells = F.avg_pool2d(images, autoencoder.config.factor).cpu()  # (b, 3, h, w)
    inputs = latents.float().cpu().movedim(1, -1).flatten(0, 2)  # (b h w, c)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(inputs, cells.movedim(1, -1).flatten(0, 2)).solution  # (c + 1, 3)
    return LatentToRgb(solution[:-1].T.contiguous(), solution[-1].contiguous())
