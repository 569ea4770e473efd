"""The backdrops of the storybook with the words people use for them, in the order they are learned.

Stage a knows the first 9 and stage b the first 22; new ones go to the end, so a trained model stays right.
"""

from __future__ import annotations

from models.training.captions import with_article
from models.training.domain import Backdrop

# What a backdrop of this colour looks like: soft, so that every thing stands out on it.
COLOURS: dict[str, str] = {
    "white": "#fcfbf7",
    "pink": "#f9c4d4",
    "yellow": "#fce28a",
    "blue": "#a6d0f4",
    "green": "#b4dfa0",
    "orange": "#fbbe86",
    "purple": "#cbb3ec",
    "grey": "#b8bdc6",
    "red": "#ec7a72",
    "turquoise": "#86dcd3",
    "brown": "#ab8a6d",
    "black": "#27272d",
}


def _plain(colour: str) -> Backdrop:
    """One flat colour."""
    ground = with_article(f"{colour} background")
    wall = with_article(f"{colour} wall")
    return Backdrop(colour, (f"on {ground}", f"on {colour}", f"in front of {wall}"), (ground,), (colour,))


def _gradient(top: str, bottom: str) -> Backdrop:
    """One colour that turns into another on the way down."""
    ground = f"a background from {top} to {bottom}"
    fading = f"{with_article(top)} background fading to {bottom}"
    return Backdrop(f"{top} to {bottom}", (f"on {ground}", f"on {fading}"), (ground, fading), (top, bottom))


def _place(name: str, words: str, has_ground: bool = True) -> Backdrop:
    """A landscape with its words: "phrase, phrase | noun, noun"; a phrase said twice comes twice as often."""
    phrases, nouns = (tuple(part.split(", ")) for part in words.split(" | "))
    return Backdrop(name, phrases, nouns, has_ground=has_ground)


BACKDROPS: tuple[Backdrop, ...] = (
    *(_plain(colour) for colour in ("white", "pink", "yellow", "blue")),
    _place("meadow", "in a meadow, in a green meadow, on the grass, on a green hill | a meadow, a green meadow"),
    _place("sea", "at sea, on the sea, in the sea, on the ocean | the sea, the blue sea"),
    _place("night", "at night, in the night, under the stars, under a starry sky | a starry night, the night"),
    _place("desert", "in the desert, in a desert, on the sand, among sand dunes | the desert, a desert"),
    _place("snow", "in the snow, in the snow, on a snowy field, in winter | the snow, a snowy field"),
    # stage b
    *(_plain(colour) for colour in ("green", "orange", "purple", "grey")),
    _place("sunset", "at sunset, at sunset, in the sunset, at dusk | a sunset, the setting sun"),
    _place(
        "under water",
        "under water, under water, at the bottom of the sea, underwater | the bottom of the sea",
        False,
    ),
    _place("forest", "in the forest, in a forest, in the woods, in the deep forest | a forest, the forest"),
    _place("beach", "on the beach, on the beach, at the beach, by the sea | a beach, a sandy beach"),
    _place(
        "mountains",
        "in the mountains, in front of the mountains, in the alps | the mountains, high mountains",
    ),
    _gradient("pink", "yellow"),
    _gradient("blue", "white"),
    _gradient("purple", "pink"),
    _gradient("orange", "yellow"),
    # stage c
    *(_plain(colour) for colour in ("red", "turquoise", "brown", "black")),
    _place("sky", "in the sky, among the clouds, above the clouds, in the air | a cloudy sky, the sky", False),
    _place("city", "in the city, in a city, in the town, in front of the skyline | a city, the skyline"),
    _place("space", "in space, in outer space, among the planets | outer space, the universe", False),
    _place("autumn", "in autumn, in autumn, among autumn trees, in fall | an autumn forest, autumn trees"),
    _place("garden", "in the garden, in a garden, among flowers, in a flower garden | a garden, a flower garden"),
    _place("rain", "in the rain, in the rain, on a rainy day, in a storm | the rain, a rainy day"),
    _place("room", "in a room, inside a room, indoors, on a wooden floor | a room, a cosy room"),
    _gradient("turquoise", "white"),
    _gradient("blue", "purple"),
    _gradient("green", "yellow"),
    _gradient("red", "orange"),
)
