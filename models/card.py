"""What a model says about itself, to people and to services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a loaded model. Sides are pixels; `multiple` is what every side must be a multiple of.

    `revision` changes whenever the weights do. `vocabulary` lists the words a small model was taught, by kind.
    """

    name: str
    revision: str
    tasks: tuple[str, ...]
    native_width: int
    native_height: int
    min_side: int
    max_side: int
    multiple: int
    samplers: tuple[str, ...]
    default_steps: int
    default_guidance_scale: float
    default_sampler: str
    parameters: int
    licence: str = "unknown"
    vocabulary: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    examples: tuple[str, ...] = ()
