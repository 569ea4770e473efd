"""One image on its way. Axes: c latent channels, h height, w width (latent cells), k text tokens, d text width."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.guidance import Guidance
from models.sampling import SamplingPlan


@dataclass(slots=True)
class Row:
    """The state of one image. `latents` (c, h, w) is x after `step` steps; `x0` the last prediction of the end.

    `cond` and `uncond` (k, d); `uncond` is None where no step is guided. `extra` (e, h, w) are further input
    channels of the network: the mask and the masked latents of an inpainting UNet.
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

    @property
    def num_steps(self) -> int:
        """How many steps it takes in all."""
        return self.plan.num_steps

    @property
    def is_done(self) -> bool:
        """Whether every step was taken."""
        return self.step >= self.num_steps
