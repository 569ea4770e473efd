"""The picture that an estimate on the way stands for, finished as the image itself would be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import RequestError
from models.row import Row

if TYPE_CHECKING:
    from models.pipeline import Pipeline
    from models.tasks import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """The estimate `x0` (c, h, w) of the first image of the request `of`; no step is taken."""

    of: Request
    x0: Tensor | NDArray[np.floating]

    @property
    def num_images(self) -> int:
        """One estimate is one picture."""
        return 1


def at_the_end(pipeline: Pipeline, request: Decode, row: Row) -> list[Row]:
    """The row as if it had ended with the estimate. Raises: RequestError for one of another shape."""
    x0 = torch.as_tensor(request.x0)
    if x0.shape != row.latents.shape:
        raise RequestError("x0", f"must have the shape {tuple(row.latents.shape)}, got {tuple(x0.shape)}")
    x0 = x0.to(pipeline.device, torch.float32)
    # What is known was never estimated.
    row.latents = x0 if row.known is None else torch.where(row.known.mask > 0, x0, row.known.x0)
    row.step = row.num_steps
    return [row]
