"""The curriculum, as data: few things in few places first, then more of everything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.training.backdrops import BACKDROPS
from models.training.domain import Layout, SizeWord, Stage
from models.training.objects import EMOJI
from models.training.shapes import coloured_shapes

_FREE_SIZES: Mapping[Layout, Mapping[SizeWord, tuple[float, float]]] = {
    "single": {"small": (0.28, 0.36), "": (0.44, 0.56), "big": (0.64, 0.78)},
    "one": {"small": (0.28, 0.36), "": (0.44, 0.56), "big": (0.64, 0.78)},
    "two": {"small": (0.22, 0.26), "": (0.32, 0.37), "big": (0.43, 0.46)},
    "three": {"small": (0.19, 0.21), "": (0.27, 0.30)},
    "pair": {"small": (0.22, 0.26), "": (0.32, 0.37), "big": (0.43, 0.46)},
    "relation": {"small": (0.22, 0.26), "": (0.32, 0.37), "big": (0.43, 0.46)},
}

_STAGE_A = Stage(
    name="a",
    things=EMOJI[:12],
    backdrops=BACKDROPS[:9],
    layouts={"single": 1.0},
    size_ranges={"single": {"small": (0.46, 0.48), "": (0.56, 0.58), "big": (0.68, 0.70)}},
    columns=(0.0, 0.5, 1.0),
)

_STAGE_B = Stage(
    name="b",
    things=EMOJI[:64],
    backdrops=BACKDROPS[:22],
    layouts={"single": 0.45, "one": 0.05, "two": 0.13, "three": 0.12, "pair": 0.25},
    size_ranges=_FREE_SIZES,
)

_STAGE_C = Stage(
    name="c",
    things=EMOJI + coloured_shapes(),
    backdrops=BACKDROPS,
    layouts={"single": 0.40, "one": 0.04, "two": 0.13, "three": 0.13, "pair": 0.1, "relation": 0.2},
    size_ranges=_FREE_SIZES,
)

STAGES: Mapping[str, Stage] = MappingProxyType({stage.name: stage for stage in (_STAGE_A, _STAGE_B, _STAGE_C)})
