"""Classifier-free guidance, per row.

Each row of a batch has its own scale, and is guided only during its own interval of the steps. A row whose
scale is 1 now needs no unconditional answer, and none is computed for it:

    guided = guided_rows(scales)                                # which rows need one
    both = network(stack_rows(x, guided), ...)                  # (b + g, c, h, w): all cond, then some uncond
    prediction = guide(both, scales, guided)                    # (b, c, h, w)

Axes: b = rows; g = rows that are guided; `...` = anything, such as c h w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Guidance:
    """How strongly, and when, one image is pushed towards its prompt.

    scale: 1 is the model as it is, more exaggerates the prompt, 0 ignores it.
    interval: step i of n is guided if and only if interval[0] <= i / n < interval[1].
    Raises: ValueError if the scale is negative or not finite, or unless 0 <= from <= to <= 1.
    Source: Ho & Salimans 2022; Kynkäänniemi et al. 2024 (the interval).
    """

    scale: float
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"guidance_scale must be 0 or more, got {self.scale:g}")
        first, last = self.interval
        if not 0 <= first <= last <= 1:
            raise ValueError(f"guidance_interval must be 0 <= from <= to <= 1, got {first:g} to {last:g}")

    def scale_at(self, step: int, num_steps: int) -> float:
        """The scale at step 0..n-1: 1 outside the interval."""
        first, last = self.interval
        return self.scale if first <= step / num_steps < last else 1.0


def guided_rows(scales: Sequence[float]) -> list[int]:
    """The rows that need an unconditional answer: those whose scale is not 1."""
    return [row for row, scale in enumerate(scales) if scale != 1]


def stack_rows(x: Tensor, guided: Sequence[int]) -> Tensor:
    """Every row, then the guided ones once more for their unconditional answer: (b, ...) to (b + g, ...)."""
    return torch.cat([x, _pick(x, guided)])


def guide(prediction: Tensor, scales: Sequence[float], guided: Sequence[int]) -> Tensor:
    """uncond + scale * (cond - uncond) for the guided rows, cond itself for the others.

    Means the same for eps, v and x0: at a given x each is a linear function of the others.
    Shapes: prediction (b + g, ...) as the network answered to `stack_rows`; returns (b, ...) float32.
    Raises: ValueError if the rows do not add up.
    Source: Ho & Salimans 2022, eq. 6 (their w is scale - 1).
    """
    b, g = len(scales), len(guided)
    if len(prediction) != b + g:
        raise ValueError(f"{b} rows, {g} of them guided, make {b + g} answers, got {len(prediction)}")
    prediction = prediction.float()
    cond, uncond = prediction[:b], prediction[b:]
    scale = torch.tensor([scales[row] for row in guided], dtype=torch.float32, device=prediction.device)
    scale = scale.view(-1, *[1] * (prediction.ndim - 1))  # (g, 1, ...)
    pushed = uncond + scale * (_pick(cond, guided) - uncond)
    return pushed if g == b else cond.index_put((_index(guided, cond),), pushed)


def _pick(x: Tensor, rows: Sequence[int]) -> Tensor:
    """These rows of x; x itself, not a copy, if they are all of them."""
    return x if len(rows) == len(x) else x[_index(rows, x)]


def _index(rows: Sequence[int], x: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.long, device=x.device)
