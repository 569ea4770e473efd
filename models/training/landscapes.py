"""The places of the storybook: one small painting a function, each with little variation inside one name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.training.canvas import Canvas
from models.training.scenery import cloud, fir, flower, raindrop, round_tree, scattered, seaweed, shift, stars

Painter = Callable[[Canvas, np.random.Generator], None]


def meadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Green hills under a mild sky with a cloud."""
    canvas.sky("#8fd0f5", "#dff3fb", end=0.6)
    cloud(canvas, 0.80 + shift(rng) / 2, 0.17, 0.085)
    canvas.ground(canvas.wave(0.54, 0.045, 0.9, 0.55 + shift(rng)), "#a5d86e", "#7fc255")
    canvas.ground(canvas.wave(0.67, 0.03, 0.8, 0.10 + shift(rng)), "#83cb58", "#57a843")


def sea(canvas: Canvas, rng: np.random.Generator) -> None:
    """A bright sky over rolling blue waves."""
    canvas.sky("#a8dcf7", "#e9f7fd", end=0.5)
    canvas.disc(0.84, 0.16, 0.075, "#ffe27a", softness=0.02)
    canvas.ground(canvas.wave(0.50, 0.008, 3, 0.2 + shift(rng)), "#57b7e6", "#2f8fce")
    canvas.ground(canvas.wave(0.64, 0.014, 2.5, 0.6 + shift(rng)), "#3fa2db", "#2379bb")
    canvas.ground(canvas.wave(0.80, 0.018, 2, 0.1 + shift(rng)), "#2b86c7", "#1a62a3")


def night(canvas: Canvas, rng: np.random.Generator) -> None:
    """A moon and stars over dark hills."""
    canvas.sky("#141d4f", "#3d4a8f", end=0.75)
    stars(canvas, rng, 11, 0.55)
    canvas.disc(0.16, 0.17, 0.16, "#5a66ad", softness=0.12, opacity=0.5)
    canvas.disc(0.16, 0.17, 0.085, "#fff3c2")
    canvas.ground(canvas.wave(0.68, 0.035, 0.9, 0.35 + shift(rng)), "#29366f", "#202b5c")
    canvas.ground(canvas.wave(0.78, 0.03, 0.8, 0.85 + shift(rng)), "#1d2752", "#131a3b")


def desert(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sand dunes under a hot, pale sun."""
    canvas.sky("#fbd79b", "#fff1d0", end=0.6)
    canvas.disc(0.20, 0.18, 0.085, "#fff9e0", softness=0.03)
    canvas.ground(canvas.wave(0.56, 0.05, 0.8, 0.30 + shift(rng)), "#efbd72", "#e2a657")
    canvas.ground(canvas.wave(0.70, 0.04, 0.7, 0.80 + shift(rng)), "#e5ac5c", "#cf8d42")


def snow(canvas: Canvas, rng: np.random.Generator) -> None:
    """White hills, two snowy firs and falling flakes."""
    canvas.sky("#a9c5e0", "#e4edf6", end=0.65)
    canvas.ground(canvas.wave(0.62, 0.03, 0.9, 0.15 + shift(rng)), "#f4f8fd", "#dce7f3")
    fir(canvas, 0.10, 0.68, 0.34, "#5f8f86", "#ffffff")
    fir(canvas, 0.90, 0.70, 0.40, "#5f8f86", "#ffffff")
    canvas.ground(canvas.wave(0.74, 0.025, 0.8, 0.60 + shift(rng)), "#ffffff", "#e2ebf5")
    for k in range(12):
        x = (k + 0.5) / 12 + float(rng.uniform(-0.02, 0.02))
        canvas.disc(x, 0.05 + 0.55 * ((k * 0.618) % 1.0), 0.012, "#ffffff", softness=0.015)


def sunset(canvas: Canvas, rng: np.random.Generator) -> None:
    """A huge red sun that sinks into a violet sea."""
    canvas.sky("#6d4a9c", "#e8688a", "#ffb36b", end=0.62)
    canvas.disc(0.5, 0.52, 0.17, "#ffdf8e", softness=0.02)
    canvas.ground(canvas.wave(0.62, 0.006, 3, shift(rng)), "#c7567f", "#5a3a7e")
    for y, half in ((0.67, 0.15), (0.73, 0.11), (0.80, 0.07)):
        canvas.disc(0.5, y, 0.012, "#ffc98a", softness=0.02, stretch=half / 0.012, opacity=0.7)


def under_water(canvas: Canvas, rng: np.random.Generator) -> None:
    """Light from above, bubbles, weeds and a sandy floor."""
    canvas.sky("#5fd0dd", "#1f86b8", "#125a94")
    canvas.disc(0.35 + shift(rng), 0.0, 0.30, "#c9f6f3", softness=0.3, opacity=0.5)
    canvas.ground(canvas.wave(0.88, 0.02, 1.2, 0.3 + shift(rng)), "#e2cf96", "#bda771")
    for x, height in ((0.07, 0.32), (0.13, 0.20), (0.93, 0.36), (0.87, 0.22)):
        seaweed(canvas, x, 0.92, height)
    for x, y in scattered(9, 0.08, 0.75):
        canvas.disc(x + shift(rng) / 4, y, 0.020, "#d5f6f8", softness=0.02, opacity=0.75)


def forest(canvas: Canvas, rng: np.random.Generator) -> None:
    """Rows of firs in the mist over a mossy ground."""
    canvas.sky("#bfe3d2", "#e6f4e3", end=0.7)
    for k in range(9):
        fir(canvas, 0.02 + 0.12 * k + shift(rng) / 6, 0.70, 0.46 + 0.08 * (k % 2), "#94c3a2")
    for x, height in ((0.04, 0.74), (0.20, 0.62), (0.82, 0.64), (0.97, 0.78)):
        fir(canvas, x, 0.80, height, "#3f8563")
    canvas.ground(canvas.wave(0.68, 0.02, 1.0, 0.2 + shift(rng)), "#7cb56a", "#548f4d")


def beach(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sky, a strip of turquoise sea with foam, and much sand."""
    canvas.sky("#7cc9f3", "#d9f1fc", end=0.42)
    cloud(canvas, 0.22 + shift(rng) / 2, 0.15, 0.08)
    canvas.ground(0.40, "#2fa9c9", "#63d3d8")
    shore = canvas.wave(0.62, 0.02, 1.1, 0.4 + shift(rng))
    canvas.ground(shore - 0.025, "#ffffff")
    canvas.ground(shore, "#fbe6b4", "#eccb88")


def mountains(canvas: Canvas, rng: np.random.Generator) -> None:
    """Three white-capped peaks behind a green valley."""
    canvas.sky("#86b9ea", "#e5f0fa", end=0.65)
    for x, top, half in ((0.14, 0.30, 0.34), (0.88, 0.26, 0.36), (0.50, 0.16, 0.40)):
        x += shift(rng) / 3
        canvas.triangle(x, top, 0.80, half, "#7d8bab")
        canvas.triangle(x, top, top + 0.15, half * 0.15 / (0.80 - top), "#ffffff")
    canvas.ground(canvas.wave(0.70, 0.03, 0.9, 0.3 + shift(rng)), "#8fc46b", "#5fa24d")


def sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Blue air with clouds above and a sea of clouds below."""
    canvas.sky("#5fb4ef", "#cdeafc", end=0.9)
    cloud(canvas, 0.20 + shift(rng) / 2, 0.20, 0.09)
    cloud(canvas, 0.80 + shift(rng) / 2, 0.34, 0.10)
    for k in range(6):
        canvas.disc(0.02 + 0.19 * k, 0.97 - 0.03 * (k % 2), 0.14, "#ffffff", softness=0.03)


def city(canvas: Canvas, _: np.random.Generator) -> None:
    """Towers with lit windows under an evening sky, and a street."""
    canvas.sky("#8b9be0", "#ffd2b8", end=0.75)
    heights = (0.36, 0.22, 0.44, 0.30, 0.40, 0.18, 0.34)
    for k, top in enumerate(heights):
        left = k / 7 - 0.005
        canvas.block(left, top, left + 0.135, 0.82, ("#5b6296", "#6d74a9")[k % 2])
        for row in range(5):
            for column in range(2):
                x, y = left + 0.03 + 0.05 * column, top + 0.05 + 0.09 * row
                canvas.block(x, y, x + 0.025, y + 0.035, "#ffe5a0")
    canvas.ground(0.80, "#85878f", "#5c5e67")


def space(canvas: Canvas, rng: np.random.Generator) -> None:
    """Deep violet, stars, and two planets in the corners."""
    canvas.sky("#1a1040", "#3b1f66", "#1a1040")
    canvas.disc(0.6, 0.45, 0.35, "#6b3a93", softness=0.5, opacity=0.5)
    stars(canvas, rng, 17, 0.97)
    canvas.disc(0.88, 0.15, 0.11, "#f0a35e")
    canvas.disc(0.85, 0.12, 0.05, "#f8c285", softness=0.05)
    canvas.disc(0.09, 0.90, 0.16, "#58b7c9")
    canvas.disc(0.07, 0.85, 0.08, "#8fdbe3", softness=0.08)


def autumn(canvas: Canvas, rng: np.random.Generator) -> None:
    """Round trees in red, orange and gold."""
    canvas.sky("#f3d9a8", "#fdf3dc", end=0.65)
    colours = (("#d9622f", "#ec8a4a"), ("#e39a2d", "#f5bb52"), ("#c9473a", "#e0705c"))
    for k, x in enumerate((0.32, 0.68, 0.08, 0.92)):
        round_tree(canvas, x + shift(rng) / 4, 0.68 + 0.05 * (k > 1), 0.46 + 0.12 * (k > 1), *colours[k % 3])
    canvas.ground(canvas.wave(0.65, 0.02, 0.9, 0.1 + shift(rng)), "#d8a24f", "#b97a38")


def garden(canvas: Canvas, rng: np.random.Generator) -> None:
    """A hedge, a lawn, and a row of flowers at either side."""
    canvas.sky("#a5dcf7", "#eef9fd", end=0.5)
    for k in range(8):
        canvas.disc(0.03 + 0.135 * k, 0.48, 0.10, "#4f9f52", softness=0.02)
    canvas.ground(canvas.wave(0.52, 0.01, 1.0, shift(rng)), "#97d477", "#66b154")
    for k, x in enumerate((0.05, 0.14, 0.23, 0.77, 0.86, 0.95)):
        flower(canvas, x, 0.80 + 0.04 * (k % 2), 0.14, ("#f2679a", "#ffffff", "#f5a13c")[k % 3])


def rain(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grey clouds, slanting rain, and a puddle."""
    canvas.sky("#7d8ea6", "#b9c6d4", end=0.7)
    canvas.ground(canvas.wave(0.70, 0.02, 0.9, 0.2 + shift(rng)), "#7fa184", "#5c8268")
    canvas.disc(0.5 + shift(rng), 0.92, 0.035, "#9fb7cb", softness=0.02, stretch=8)
    for x, y in scattered(14, 0.22, 0.72):
        raindrop(canvas, x, y)
    for x in (0.12, 0.45, 0.80):
        cloud(canvas, x, 0.05, 0.15, "#5f6e85")


def room(canvas: Canvas, rng: np.random.Generator) -> None:
    """A wallpaper, a window to a blue sky, and a wooden floor."""
    canvas.sky("#f3dcc4", "#ecccae")
    canvas.block(0.10, 0.10, 0.40, 0.46, "#ffffff")
    canvas.block(0.125, 0.125, 0.24, 0.435, "#a9dcf8")
    canvas.block(0.26, 0.125, 0.375, 0.435, "#a9dcf8")
    canvas.block(0.66, 0.16, 0.88, 0.38, "#c98d54")
    canvas.block(0.685, 0.185, 0.855, 0.355, "#f7eeda")
    canvas.disc(0.77, 0.27, 0.05, "#ec7a72")
    canvas.ground(0.70, "#c08a57", "#a06c3f")
    for y in (0.77, 0.85, 0.94):
        canvas.block(0.0, y, 1.0, y + 0.008, "#93613a")
    canvas.block(0.0, 0.68, 1.0, 0.705, "#fff6ea")
    canvas.disc(0.5 + shift(rng) / 2, 0.88, 0.07, "#d96c75", stretch=5.5)


LANDSCAPES: dict[str, Painter] = {
    painter.__name__.replace("_", " "): painter
    for painter in (
        *(meadow, sea, night, desert, snow),
        *(sunset, under_water, forest, beach, mountains),
        *(sky, city, space, autumn, garden, rain, room),
    )
}
