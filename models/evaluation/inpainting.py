"""Does it paint what the prompt names, where the mask says, and nothing else?

The thing of a scene is masked, and another asked for in its place: the judge of prompt following then names what the
result shows. The seam is how much neighbouring pixels differ across the edge of the mask, beside how much they do
in a real scene of the same: a patch that does not fit has a greater one.

Axes: n pictures, h height, w width (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.evaluation.prompt_following import Judge, Pictures, Score, captioned
from models.evaluation.report import Report
from models.pipeline import Pipeline
from models.tasks import Inpaint
from models.training import layouts
from models.training.domain import Item, Scene, Split, Stage
from models.training.pictures import pixel_box, render

Mask = NDArray[np.bool_]
"""(h, w), true where it is repainted."""

# As part of the picture's side: how far the mask reaches beyond both things, so that shadows lie inside.
_ROOM = 0.06
_REPORT_EVERY = 10


@dataclass(frozen=True, slots=True)
class InpaintingVerdict:
    """fills: pictures that show the thing that the prompt names. untouched: pictures of which every pixel outside the
    mask is as it was. seam, seam_real: mean step between neighbours across the mask's edge, in 1/255."""

    fills: Score
    untouched: Score
    seam: float
    seam_real: float


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """A scene to be reached from a picture (h, w, 3) in which another thing stands where the mask is."""

    wanted: Scene
    picture: NDArray[np.uint8]
    mask: Mask


def judge_inpainting(
    pipeline: Pipeline, stage: Stage, judge: Judge, *, split: Split, count: int, report: Report
) -> InpaintingVerdict:
    """The verdict over `count` replacements, at the model's defaults, seeds 0, 1, 2, ..."""
    cases = replacements(stage, split, count, pipeline.card.native_width)
    results = []
    for seed, case in enumerate(cases):
        request = Inpaint(prompt=case.wanted.caption, image=case.picture, mask=case.mask, seed=seed)
        results.append(pipeline.generate(request)[0])
        if len(results) % _REPORT_EVERY == 0 or len(results) == count:
            report(f"inpainted {len(results)} of {count}")
    return verdict(judge, cases, np.stack(results))


def verdict(judge: Judge, cases: list[Replacement], results: Pictures) -> InpaintingVerdict:
    """What the judge says of results (n, h, w, 3), one a case."""
    size, count = results.shape[1], len(cases)
    named = judge.names(results)
    is_right = [name[0] == case.wanted.items[0].thing.name for name, case in zip(named, cases, strict=True)]
    pairs = list(zip(results, cases, strict=True))
    is_untouched = [np.array_equal(result[~case.mask], case.picture[~case.mask]) for result, case in pairs]
    return InpaintingVerdict(
        fills=Score(sum(is_right), count),
        untouched=Score(sum(is_untouched), count),
        seam=float(np.mean([seam(result, case.mask) for result, case in pairs])),
        seam_real=float(np.mean([seam(render(case.wanted, size), case.mask) for case in cases])),
    )


def replacements(stage: Stage, split: Split, count: int, size: int) -> list[Replacement]:
    """Scenes whose captions name thing and backdrop; in the picture the stage's next thing stands in the place."""
    cases = []
    for wanted in captioned(stage, split, count):
        item = wanted.items[0]
        other = stage.things[(stage.things.index(item.thing) + 1) % len(stage.things)]
        # as a single thing is placed, but where this one is: feet on the same ground, the same middle
        shape = layouts.Cast(other, item.size_word, max(item.x1 - item.x0, item.y1 - item.y0))
        x0 = item.centre[0] - shape.width / 2
        y0 = item.y1 - shape.height if item.casts_shadow else item.centre[1] - shape.height / 2
        instead = replace(wanted, items=(shape.at(x0, y0, item.casts_shadow),))
        cases.append(Replacement(wanted, render(instead, size), _mask((item, instead.items[0]), size)))
    return cases


def seam(picture: NDArray[np.uint8], mask: Mask) -> float:
    """The mean absolute difference, in 1/255, of neighbours of which one is in the mask and the other is not."""
    pixels = picture.astype(np.float32)
    down, across = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    steps = np.concatenate([np.abs(np.diff(pixels, axis=0))[down], np.abs(np.diff(pixels, axis=1))[across]])
    return float(steps.mean()) if len(steps) else 0.0


def _mask(items: tuple[Item, Item], size: int) -> Mask:
    boxes = np.array([pixel_box(item, size) for item in items])
    room = round(_ROOM * size)
    x0, y0 = np.maximum(boxes[:, :2].min(axis=0) - room, 0)
    x1, y1 = np.minimum(boxes[:, 2:].max(axis=0) + room, size)
    mask = np.zeros((size, size), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask
