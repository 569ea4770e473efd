"""A small painter of soft shapes: coverage masks on a unit square, blended onto floating-point pixels.

Coordinates are fractions of the side, x to the right and y down, so a painting looks the same at every size.
Axes: h, w pixels of the picture (square), 3 colours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (h, w), or (h, 1) and (1, w) where broadcasting is enough


def rgb(colour: str) -> NDArray[np.float32]:
    """The colour `#rrggbb` as three floats in 0..255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32)


class Canvas:
    """A square picture being painted, from the back to the front."""

    def __init__(self, size: int) -> None:
        self.size = size
        centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
        self.x: Plane = centres[None, :]
        self.y: Plane = centres[:, None]
        self.pixels = np.zeros((size, size, 3), dtype=np.float32)

    def blend(self, coverage: Plane, colour: str | NDArray[np.float32]) -> None:
        """Lay `colour` (one colour, or one a pixel) over the picture where coverage (0..1) says."""
        paint = rgb(colour) if isinstance(colour, str) else colour
        self.pixels += (paint - self.pixels) * coverage[..., None]

    def inside(self, distance: Plane, softness: float = 0.0) -> Plane:
        """Coverage of the region where a signed distance is negative; its edge is at least a pixel wide."""
        edge = max(softness, 1.0 / self.size)
        coverage: Plane = np.clip(0.5 - distance / edge, 0.0, 1.0).astype(np.float32)
        return coverage

    def gradient(self, *colours: str, start: float = 0.0, end: float = 1.0) -> NDArray[np.float32]:
        """Colours from `start` to `end` down the picture, evenly spaced: (h, 1, 3)."""
        stops = np.linspace(start, end, len(colours))
        table = np.stack([rgb(colour) for colour in colours])
        rows = [np.interp(self.y[:, 0], stops, table[:, channel]) for channel in range(3)]
        return np.stack(rows, axis=-1).astype(np.float32)[:, None, :]

    def sky(self, *colours: str, end: float = 1.0) -> None:
        """Fill the whole picture with a vertical gradient."""
        self.pixels[:] = self.gradient(*colours, end=end)

    def ground(self, line: Plane | float, *colours: str) -> None:
        """Fill all below the curve y = line(x) with a gradient that starts where the curve is highest."""
        top = float(np.min(line))
        self.blend(self.inside(line - self.y + 0 * self.x), self.gradient(*colours, start=top))

    def wave(self, level: float, height: float, cycles: float, phase: float) -> Plane:
        """A sine curve y(x) to paint ground below of: (1, w)."""
        curve: Plane = level + height * np.sin(2 * np.pi * (cycles * self.x + phase))
        return curve

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        colour: str,
        softness: float = 0.0,
        stretch: float = 1.0,
        opacity: float = 1.0,
    ) -> None:
        """A disc, or an ellipse `stretch` times as wide as high."""
        distance = np.hypot((self.x - x) / stretch, self.y - y) - radius
        self.blend(opacity * self.inside(distance, softness), colour)

    def triangle(self, x: float, top: float, bottom: float, half_width: float, colour: str) -> None:
        """An upright triangle with its tip at (x, top)."""
        slope = half_width / (bottom - top)
        reach = (self.y - top) * slope
        sides = (np.abs(self.x - x) - reach) / np.hypot(1.0, slope)
        self.blend(self.inside(np.maximum(sides, self.y - bottom)), colour)

    def block(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        """An upright rectangle."""
        across = np.maximum(x0 - self.x, self.x - x1)
        self.blend(self.inside(np.maximum(across, np.maximum(y0 - self.y, self.y - y1))), colour)

    def finished(self) -> NDArray[np.uint8]:
        """The picture in 8 bit, rounded: (h, w, 3)."""
        return np.clip(np.rint(self.pixels), 0, 255).astype(np.uint8)
