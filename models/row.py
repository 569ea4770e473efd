"""One image on its way. Axes: c latent channels, h height, w width (latent cells), k text tokens, d text width."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.guidance import Guidance
from models.pixels import to_pixels
from models.process import add_noise
from models.sampling import SamplingPlan
from models.tiling import Tiling

Finishing = Callable[[Tensor], NDArray[np.uint8]]
"""From the decoded picture (3, h, w) in about [-1, 1] to pixels (height, width, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The part of a picture that stays: its clean latents x0 and noise (c, h, w); mask (1, h, w), 1 = repainted."""

    x0: Tensor
    noise: Tensor
    mask: Tensor

    def keep(self, x: Tensor, level: Tensor) -> Tensor:
        """x (c, h, w) with its known cells as they are at this level: the picture, noised with its own noise.

        Source: Sohl-Dickstein et al. 2015, section 2.5, their product of the model with what is known, roughly;
        Lugmayr et al. 2022 (RePaint), eq. 8.
        """
        return torch.where(self.mask > 0, x, add_noise(self.x0, self.noise, level.to(x.device)))


@dataclass(slots=True)
class Row:
    """The state of one image. `latents` (c, h, w) is x after `step` steps; `x0` the last prediction of the end.

    `cond` and `uncond` (k, d); `uncond` is None where no step is guided, unless the row is `reproducible`: it is then
    always computed alone, as two rows of the network. `extra` (e, h, w) are further input channels of the network:
    the mask and the masked latents of an inpainting UNet, the small picture of an upscaler, whose noise level is
    `class_label`. `known` cells are put back after every step. A row with a `tiling` is denoised and decoded tile by
    tile. `finishing` makes the pixels.
    """

    index: int
    seed: int
    latents: Tensor
    plan: SamplingPlan
    guidance: Guidance
    cond: Tensor
    uncond: Tensor | None
    generator: torch.Generator
    extra: Tensor | None = None
    x0: Tensor | None = None
    step: int = 0
    class_label: int | None = None
    known: Known | None = None
    tiling: Tiling | None = None
    finishing: Finishing = to_pixels
    reproducible: bool = False

    @property
    def num_steps(self) -> int:
        """How many steps it takes in all."""
        return self.plan.num_steps

    @property
    def is_done(self) -> bool:
        """Whether every step was taken."""
        return self.step >= self.num_steps

    @property
    def bucket(self) -> Hashable:
        """What rows must have in common to share a step: shapes, the network's further inputs, and the tiling."""
        extra = None if self.extra is None else tuple(self.extra.shape)
        shapes = (tuple(self.latents.shape), tuple(self.cond.shape), extra)
        return shapes, self.class_label is None, self.tiling, self.reproducible
