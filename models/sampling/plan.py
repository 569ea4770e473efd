"""A sampler is a table.

Every linear sampler moves a latent by

    x <- a * x + b * x0 + c * x0_previous + d * z        z ~ N(0, I)

where x0 is the network's prediction as a clean latent and x0_previous that of the step before. Which sampler
it is, and how many steps it takes, is nothing but the numbers a, b, c, d of each step: so rows with different
samplers, step counts and starts can share one batch, and one fused update moves them all.

Everything is in the variance-preserving scale, x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.

Axes: n = steps of a plan; b = rows of a batch; c h w = a latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.schedule import Spacing


@dataclass(frozen=True, slots=True, eq=False)
class SamplingPlan:
    """What to ask the network, and how to move, at each of n steps.

    timesteps (n,): what the network is asked; fractional where a sampler asks between two timesteps.
    levels (n + 1,): alpha_bar before the first step, between the steps, and after the last. levels[i] turns
        the answer of step i into x0; levels[0] is the level to which an image start is noised.
    init_scale: what standard normal noise is multiplied with to become the first x.
    coefficients (n, 4): a, b, c, d of each step.

    All float64. The first step never looks back (c = 0): there is nothing to look back to.
    Raises: ValueError if the shapes do not fit, a number is not finite, or the first step looks back.
    """

    timesteps: Tensor
    levels: Tensor
    init_scale: float
    coefficients: Tensor

    def __post_init__(self) -> None:
        n = len(self.timesteps)
        for name, table, shape in (
            ("timesteps", self.timesteps, (n,)),
            ("levels", self.levels, (n + 1,)),
            ("coefficients", self.coefficients, (n, 4)),
        ):
            if tuple(table.shape) != shape or table.dtype != torch.float64:
                raise ValueError(f"{name} must be {shape} float64, got {tuple(table.shape)} {table.dtype}")
            if not bool(table.isfinite().all()):
                raise ValueError(f"{name} must be finite, got {table.tolist()}")
        if n == 0:
            raise ValueError("a plan has at least one step, got none")
        if self.coefficients[0, 2] != 0:
            raise ValueError(f"the first step of a plan has c = 0, got {self.coefficients[0, 2].item():g}")

    @property
    def num_steps(self) -> int:
        """n, the steps that are run: those before an image start are not among them."""
        return len(self.timesteps)

    @property
    def needs_noise(self) -> tuple[bool, ...]:
        """For each step whether it draws a z, that is, whether d is not 0."""
        return tuple(bool(d) for d in self.coefficients[:, 3] != 0)


@dataclass(frozen=True, slots=True)
class SamplerOptions:
    """What a plan depends on besides the schedule and the number of steps.

    The model's conventions (from its scheduler's config; a sampler passes over those it has no use for):
        spacing: of the timesteps; None is what the sampler's paper or code had.
        steps_offset: added to leading timesteps (Stable Diffusion 1: 1).
        set_alpha_to_one: whether ddim's last step ends at the clean image, or at the schedule's first level.

    The user's choices (an error for a sampler that has no such thing):
        eta: ddim's share of fresh noise, 0 none .. 1 as much as ddpm.
        karras: Karras et al.'s noise levels in place of the spacing's.
    """

    spacing: Spacing | None = None
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    eta: float = 0.0
    karras: bool = False

    def __post_init__(self) -> None:
        if self.steps_offset < 0:
            raise ValueError(f"steps_offset must be 0 or more, got {self.steps_offset}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be 0 to 1, got {self.eta:g}")


def start_of_strength(num_steps: int, strength: float) -> int:
    """The step at which an image start of this strength begins: the last max(1, int(n * strength)) steps run.

    Raises: ValueError unless 0 < strength <= 1.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength:g}")
    return num_steps - max(1, int(num_steps * strength))


def advance(x: Tensor, x0: Tensor, x0_previous: Tensor, z: Tensor, coefficients: Tensor) -> Tensor:
    """One step for every row, each by its own coefficients: a x + b x0 + c x0_previous + d z.

    Where c or d is 0, x0_previous or z may be anything finite, zeros for instance.
    Shapes: x, x0, x0_previous, z (b, ...); coefficients (b, 4) on any device. Returns (b, ...) float32, or
    float64 if x is.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    a, b, c, d = coefficients.to(x.device, dtype).view(-1, 4, *[1] * (x.ndim - 1)).unbind(1)  # (b, 1, ...)
    return a * x.to(dtype) + b * x0.to(dtype) + c * x0_previous.to(dtype) + d * z.to(dtype)
