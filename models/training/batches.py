"""Batches of scenes, each decided by its step alone, so that a resumed run sees what it would have seen.

Axes: b batch, h height, w width (pixels, or latent cells where the name says so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from models.training.domain import Split, Stage
from models.training.pictures import sample

Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Batch:
    """images (b, 3, h, w) float32 in [-1, 1]; captions, b of them; boxes: b arrays (k, 4) of x0 y0 x1 y1 in 0..1."""

    images: Tensor
    captions: tuple[str, ...]
    boxes: tuple[Tensor, ...]


def draw_batch(stage: Stage, size: int, step: int, batch_size: int, *, split: Split = "train", seed: int = 0) -> Batch:
    """The scenes of one step: no two steps of a run share one."""
    first = (seed << 40) + step * batch_size
    samples = [sample(first + index, stage, size, split) for index in range(batch_size)]
    pictures = torch.from_numpy(np.stack([one.picture for one in samples]))  # (b, h, w, 3) uint8
    return Batch(
        images=pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0,
        captions=tuple(one.caption for one in samples),
        boxes=tuple(torch.from_numpy(one.boxes) for one in samples),
    )


def batches(draw: Callable[[int], Drawn], first_step: int) -> Iterator[Drawn]:
    """What `draw` makes of each step from `first_step` on, without end; the next is drawn while the last is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="scenes") as pool:
        step = first_step
        coming = pool.submit(draw, step)
        while True:
            batch = coming.result()
            step += 1
            coming = pool.submit(draw, step)
            yield batch


def box_cells(boxes: tuple[Tensor, ...], latent_size: int) -> Tensor:
    """Which latent cells an object's box touches. Returns (b, 1, latent_height, latent_width) of 0 and 1."""
    cells = torch.zeros(len(boxes), 1, latent_size, latent_size)
    for row, corners in enumerate(boxes):
        for x0, y0, x1, y1 in (corners * latent_size).tolist():
            cells[row, 0, int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 1.0
    return cells


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """The randomness of one step in one process of a run, whatever ran before it."""
    mixed = np.random.SeedSequence([seed, step, rank] if rank else [seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Inside, networks are initialised by this seed; the caller's own randomness is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's initialisers take no generator
        yield


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1), (count,) float32."""
    return torch.rand(count, generator=generator)
