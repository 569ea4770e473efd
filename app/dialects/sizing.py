"""Which size to develop where a client asks for one that the model does not have.  Sides are pixels, width first.

Clients of the dialects ask for 512 x 512 or 1024 x 1024 whatever the model.  Far from the size it was made for a model
repeats itself or draws mush, so it is asked for that size, in the proportions that are wanted; an upscaler makes most
of the difference, and plain scaling the rest.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import PictureParams, TextToImageParams
from app.jobs.spec.sizing import MAX_RESULT_PIXELS

Size = tuple[int, int]

# How far from its native area a model is asked for exactly what a client wants.
NEAR: Final = 2.0

# Proportions that are off cost a part of the picture, another area only some of its quality.
_PROPORTIONS_COUNT: Final = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is developed, how many times larger it is made then; whatever is missing to `asked` is plain scaling."""

    asked: Size
    developed: Size
    upscale: int = 1

    @property
    def made(self) -> Size:
        """How large it is before it is scaled."""
        return self.developed[0] * self.upscale, self.developed[1] * self.upscale


def plan(asked: Size, entry: CatalogueEntry, upscales: Iterable[int] = ()) -> Plan:
    """How this model comes to a picture of the size that is `asked`; `upscales` are the factors that are on offer.

    What the model can do exactly, and was roughly made for, it does.  Else it develops what is nearest to its native
    size in these proportions, and the smallest factor is taken that reaches what is asked, or the largest.
    """
    factors = sorted({1, *upscales})
    ratio = _area(asked) / _area((entry.native_width, entry.native_height))
    # Without an upscaler the model's own limits say how large it may become.
    most = NEAR if len(factors) > 1 else math.inf
    if can_develop(asked, entry) and 1 / NEAR <= ratio <= most:
        return Plan(asked, asked)
    developed = nearest(asked, entry)
    possible = [factor for factor in factors if _area(developed) * factor**2 <= MAX_RESULT_PIXELS] or [1]
    reaching = [factor for factor in possible if all(d * factor >= a for d, a in zip(developed, asked, strict=True))]
    return Plan(asked, developed, reaching[0] if reaching else possible[-1])


def can_develop(size: Size, entry: CatalogueEntry) -> bool:
    """Whether the model offers this very size."""
    return all(side % entry.multiple == 0 and entry.min_side <= side <= entry.max_side for side in size)


def nearest(asked: Size, entry: CatalogueEntry) -> Size:
    """The size the model offers that is nearest to its native area, in proportions near to those that are asked."""
    sides = range(-(-entry.min_side // entry.multiple) * entry.multiple, entry.max_side + 1, entry.multiple)
    proportions = asked[0] / asked[1]
    native_area = _area((entry.native_width, entry.native_height))

    def distance(size: Size) -> tuple[float, Size]:
        off = abs(math.log(size[0] / size[1] / proportions))
        return _PROPORTIONS_COUNT * off + abs(math.log(_area(size) / native_area)), size

    def fitting(width: int) -> set[Size]:
        """Beside this width, the heights around the one that the proportions call for, and around the native area."""
        wanted = (width / proportions, native_area / width)
        near = {
            math.floor(height / entry.multiple) * entry.multiple + more
            for height in wanted
            for more in (0, entry.multiple)
        }
        return {(width, min(max(height, sides[0]), sides[-1])) for height in near}

    return min((size for width in sides for size in fitting(width)), key=distance)


def made_size(params: PictureParams) -> Size:
    """How large the pictures of a job are."""
    upscale = params.upscale if isinstance(params, TextToImageParams) else 1
    return params.width * upscale, params.height * upscale


def written(size: Size) -> str:
    """The size, as clients write it."""
    return f"{size[0]}x{size[1]}"


def _area(size: Size) -> int:
    return size[0] * size[1]
