"""Pieces that several landscapes are made of: clouds, trees, flowers, stars, weeds and rain."""

from __future__ import annotations

import numpy as np

from models.training.canvas import Canvas


def shift(rng: np.random.Generator) -> float:
    """A gentle shift of a curve's phase: the same place, seen from a step aside."""
    return float(rng.uniform(-0.08, 0.08))


def scattered(count: int, top: float, bottom: float) -> list[tuple[float, float]]:
    """Places in even columns at heights that look strewn (multiples of the golden ratio)."""
    return [((k + 0.5) / count, top + (bottom - top) * ((k * 0.618 + 0.3) % 1.0)) for k in range(count)]


def cloud(canvas: Canvas, x: float, y: float, scale: float, colour: str = "#ffffff") -> None:
    """A cumulus, about three times as wide as `scale`."""
    for dx, dy, radius in ((-1.1, 0.25, 0.55), (-0.35, -0.15, 0.75), (0.45, 0.0, 0.65), (1.1, 0.3, 0.45)):
        canvas.disc(x + dx * scale, y + dy * scale, radius * scale, colour, softness=0.02)


def fir(canvas: Canvas, x: float, foot: float, height: float, colour: str, snow: str | None = None) -> None:
    """A fir of three tiers, with snow on their tips if a colour for it is given."""
    canvas.block(x - 0.035 * height, foot - 0.2 * height, x + 0.035 * height, foot, "#5d4636")
    for top, bottom, half in ((0.45, 0.12, 0.30), (0.72, 0.36, 0.24), (1.0, 0.62, 0.17)):
        canvas.triangle(x, foot - top * height, foot - bottom * height, half * height, colour)
        if snow is not None:
            tip = foot - (top - 0.14) * height
            canvas.triangle(x, foot - top * height, tip, half * height * 0.14 / (top - bottom), snow)


def round_tree(canvas: Canvas, x: float, foot: float, height: float, crown: str, light: str) -> None:
    """A broad-leaved tree whose crown is lit from the left."""
    canvas.block(x - 0.05 * height, foot - 0.5 * height, x + 0.05 * height, foot, "#7a5338")
    canvas.disc(x, foot - 0.66 * height, 0.32 * height, crown, softness=0.015)
    canvas.disc(x - 0.08 * height, foot - 0.74 * height, 0.20 * height, light, softness=0.03)


def stars(canvas: Canvas, rng: np.random.Generator, count: int, lowest: float) -> None:
    """Stars of two sizes above `lowest`."""
    for k in range(count):
        # one star in each column, in an order that looks strewn, so that the sky is even at every variant
        x = (k + 0.5) / count + float(rng.uniform(-0.2, 0.2)) / count
        y = 0.05 + (lowest - 0.05) * ((k * 0.618 + 0.3) % 1.0)
        canvas.disc(x, y, 0.009 + 0.006 * (k % 2), "#fff6d5", softness=0.015)


def flower(canvas: Canvas, x: float, foot: float, height: float, petals: str) -> None:
    """A flower on a stem."""
    canvas.block(x - 0.008, foot - height, x + 0.008, foot, "#3f8b3a")
    for dx, dy in ((-0.7, 0.0), (0.7, 0.0), (0.0, -0.7), (0.0, 0.7)):
        canvas.disc(x + dx * 0.03, foot - height + dy * 0.03, 0.024, petals)
    canvas.disc(x, foot - height, 0.017, "#ffe27a")


def seaweed(canvas: Canvas, x: float, foot: float, height: float) -> None:
    """A swaying ribbon of weed."""
    sway = 0.018 * np.sin(canvas.y * 26 + 9 * x)
    ribbon = np.maximum(np.abs(canvas.x - x - sway) - 0.016, np.abs(canvas.y - foot + height / 2) - height / 2)
    canvas.blend(canvas.inside(ribbon), "#2f9b6b")


def raindrop(canvas: Canvas, x: float, y: float) -> None:
    """A short slanting streak."""
    streak = np.maximum(np.abs(canvas.x - x + 0.25 * (canvas.y - y)) - 0.004, np.abs(canvas.y - y) - 0.04)
    canvas.blend(0.8 * canvas.inside(streak), "#dcebf7")
