"""What a model trained on a stage knows, in the words people would type."""

from __future__ import annotations

from collections.abc import Iterable

from models.training.domain import Scene, Stage
from models.training.scenes import draw_scene

_COLUMNS = ("on the left", "in the middle", "on the right")
_ROWS = ("at the top", "at the bottom")
_RELATIONS = ("to the left of", "to the right of", "above", "below")
_NUM_EXAMPLES = 8


def caption_corpus(stage: Stage, n: int) -> list[str]:
    """The captions of the first n scenes for training, to train a tokenizer on."""
    return [draw_scene(seed, stage, "train").caption for seed in range(n)]


def vocabulary(stage: Stage) -> dict[str, tuple[str, ...]]:
    """The words of the stage by kind; kinds that it does not teach are left out."""
    kinds: dict[str, tuple[str, ...]] = {
        "objects": tuple(thing.name for thing in stage.things if not thing.shape),
        "shapes": _distinct(thing.shape for thing in stage.things),
        "colours": _distinct(thing.colour for thing in stage.things),
        "backgrounds": tuple(backdrop.name for backdrop in stage.backdrops),
        "sizes": _distinct(word for ranges in stage.size_ranges.values() for word in ranges),
        "positions": _COLUMNS if stage.columns else _COLUMNS + _ROWS,
        "counts": tuple(layout for layout in stage.layouts if layout in ("one", "two", "three")),
        "relations": _RELATIONS if "relation" in stage.layouts else (),
    }
    return {kind: words for kind, words in kinds.items() if words}


def examples(stage: Stage) -> tuple[str, ...]:
    """A few prompts that the stage teaches: plain sentences, the layouts in turn, no thing twice."""
    captions: dict[str, str] = {}
    layouts = list(stage.layouts)
    for seed in range(2000):
        scene = draw_scene(seed, stage, "train")
        wanted = layouts[len(captions) % len(layouts)]
        if len(captions) < _NUM_EXAMPLES and scene.layout == wanted and _reads_well(scene):
            captions.setdefault(scene.items[0].thing.name, scene.caption)
    return tuple(captions.values())


def _reads_well(scene: Scene) -> bool:
    """Whether the caption is one that a person would think of first."""
    places = any(scene.caption.endswith(phrase) for phrase in scene.backdrop.phrases)
    starts_plainly = scene.caption.split()[0] in ("a", "an", "one", "two", "three")
    return scene.backdrop.has_ground and places and starts_plainly and "a picture of" not in scene.caption


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    """The words without repetition and without the empty one, in their first order."""
    return tuple(word for word in dict.fromkeys(words) if word)
