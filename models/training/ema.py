"""The exponential moving average of the weights: what is kept and shipped."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Ema(Generic[Network]):
    """A float32 shadow of a network that follows it slowly (Ho et al. 2020, appendix B)."""

    def __init__(self, network: Network, *, decay: float) -> None:
        self.decay = decay
        self.shadow: Network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def follow(self, network: Network, step: int) -> None:
        """Moves the shadow after the given step; early steps move it faster, so that it forgets the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.shadow.parameters()), list(network.parameters()), 1.0 - decay)
