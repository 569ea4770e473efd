"""What is pasted into a picture, without a seam: the error at the rim, continued into the inside, is taken off.

An autoencoder gives colours back a little off; where a region ends in the middle of an even surface, that shows as an
edge. Outside of what was repainted the error is known. Its membrane, the smoothest continuation inside, is what
gradient-domain pasting adds (Perez et al. 2003, "Poisson Image Editing", eq. 2 to 6).

Axes: c colours, p q height and width of a region (pixels).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# A greater difference is no error of colours but a region that does not fit, and is not smeared into it.
LARGEST = 24.0

_SWEEPS = 24


def without_seam(new: Tensor, old: Tensor, is_old: Tensor) -> Tensor:
    """`new` with its colours at the rim drawn to those of `old`.

    Shapes: new, old (c, p, q) in 0..255; is_old (p, q), true where `old` stays. Returns (c, p, q), not rounded.
    """
    error = (old - new).clamp(-LARGEST, LARGEST)
    return (new + membrane(error, is_old)).clamp(0.0, 255.0)


def membrane(values: Tensor, known: Tensor) -> Tensor:
    """The values where they are known, and their harmonic continuation elsewhere; 0 where none is known.

    Solved from coarse to fine: each size begins with what the half of it came to, so few sweeps suffice.
    Shapes: values (c, p, q); known (p, q) of bool. Returns (c, p, q).
    """
    values = torch.where(known, values, 0.0)
    if bool(known.all()) or not bool(known.any()):
        return values
    height, width = known.shape
    continued = _enlarged(membrane(*_halved(values, known)), height, width)
    for _ in range(_SWEEPS):
        continued = _mean_of_neighbours(torch.where(known, values, continued))
    return torch.where(known, values, continued)


def _halved(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of what is known in each 2x2 square, and where that is anything."""
    odd = (0, known.shape[1] % 2, 0, known.shape[0] % 2)
    count = F.avg_pool2d(F.pad(known[None].float(), odd), 2)
    total = F.avg_pool2d(F.pad(values, odd), 2)
    return total / count.clamp(min=0.25), count[0] > 0


def _enlarged(values: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(values[None], scale_factor=2, mode="bilinear")[0, :, :height, :width]


def _mean_of_neighbours(values: Tensor) -> Tensor:
    """Of the four next to each; at the picture's sides the value itself stands for what is missing."""
    around = F.pad(values[None], (1, 1, 1, 1), mode="replicate")[0]
    sides = (around[:, :-2, 1:-1], around[:, 2:, 1:-1], around[:, 1:-1, :-2], around[:, 1:-1, 2:])
    return torch.stack(sides).mean(dim=0)
