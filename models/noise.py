"""Randomness: one generator per image, so that no image depends on its company.

Image k of a request with seed s has the seed s + k, and draws on the CPU in float32, in the order in which
diffusers' pipelines draw: the initial noise, then one z for each step that needs one. So a seed means here
what it means there, on every device and in every batch.

Axes: b = images; c h w = a latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

NUM_SEEDS = 2**32


def image_seed(seed: int, index: int) -> int:
    """The seed of image `index` of a request: seed + index, modulo 2^32.

    Raises: ValueError unless 0 <= seed < 2^32 and index >= 0.
    """
    if not 0 <= seed < NUM_SEEDS:
        raise ValueError(f"seed must be 0 to {NUM_SEEDS - 1}, got {seed}")
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    return (seed + index) % NUM_SEEDS


def image_generator(seed: int, index: int = 0) -> Generator:
    """A fresh CPU generator for image `index` of a request. Raises: as `image_seed`."""
    return Generator("cpu").manual_seed(image_seed(seed, index))


def draw(generator: Generator, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of one image, (c, h, w) float32 on the CPU."""
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


def draw_rows(generators: Sequence[Generator], shape: Sequence[int], needed: Sequence[bool]) -> Tensor:
    """The z of one step for every row, (b, c, h, w): fresh noise where needed, zeros elsewhere.

    A row that needs none leaves its generator untouched.
    Raises: ValueError if there is not one `needed` for each generator.
    """
    rows = [
        draw(generator, shape) if wanted else torch.zeros(tuple(shape))
        for generator, wanted in zip(generators, needed, strict=True)
    ]
    return torch.stack(rows)
