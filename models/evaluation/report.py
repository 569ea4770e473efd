"""A model's score card: real scenes, what the autoencoder leaves of them, and what is drawn from their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.evaluation.prompt_following import Judge, Pictures, Score, Verdict, captioned
from models.networks.autoencoder import to_uint8
from models.pipeline import Pipeline
from models.tasks import TextToImage
from models.training.domain import Scene, Stage
from models.training.pictures import render

Report = Callable[[str], None]
BATCH = 8  # pictures reconstructed at a time
REPORT_EVERY = 10


REAL, RECONSTRUCTED, SEEN, HELD_OUT = "real scenes", "reconstructions", "drawn, combinations seen", "drawn, held out"


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Pictures (n, h, w, 3), and the n scenes that they should show."""

    pictures: Pictures
    scenes: Sequence[Scene]


def drawings(pipeline: Pipeline, stage: Stage, *, count: int, report: Report) -> dict[str, Drawing]:
    """Pictures by row of the table; `count` captions of scenes like those of training, and as many held out."""
    size = pipeline.card.native_width
    seen, held_out = captioned(stage, "train", count), captioned(stage, "held_out", count)
    every = [*seen, *held_out]
    real = np.stack([render(scene, size) for scene in every])
    return {
        REAL: Drawing(real, every),
        RECONSTRUCTED: Drawing(reconstructed(pipeline, real), every),
        SEEN: Drawing(drawn(pipeline, seen, report), seen),
        HELD_OUT: Drawing(drawn(pipeline, held_out, report), held_out),
    }


def prompt_following(rows: Mapping[str, Drawing], judge: Judge) -> dict[str, Verdict]:
    """What the judge says of each row."""
    return {name: judge.verdict(row.pictures, row.scenes) for name, row in rows.items()}


def by_thing(rows: Mapping[str, Drawing], stage: Stage, judge: Judge) -> dict[str, Score]:
    """How often each thing of the stage was drawn so that the judge names it, the best first."""
    results: dict[str, list[bool]] = {thing.name: [] for thing in stage.things}
    for row in (rows[SEEN], rows[HELD_OUT]):
        for (name, _), scene in zip(judge.names(row.pictures), row.scenes, strict=True):
            results[scene.items[0].thing.name].append(name == scene.items[0].thing.name)
    scores = {name: Score(sum(found), len(found)) for name, found in results.items() if found}
    return dict(sorted(scores.items(), key=lambda entry: -entry[1].share))


def table(verdicts: Mapping[str, Verdict]) -> str:
    """The verdicts as a Markdown table: share, and Wilson's 95 % interval."""
    lines = ["| pictures | n | object | background | both |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {verdict.thing.trials} | {verdict.thing} | {verdict.backdrop} | {verdict.both} |"
        for name, verdict in verdicts.items()
    ]
    return "\n".join(lines)


def drawn(pipeline: Pipeline, scenes: Sequence[Scene], report: Report) -> Pictures:
    """One picture for the caption of each scene, at the model's defaults, seeds 0, 1, 2, ..."""
    pictures = []
    for seed, scene in enumerate(scenes):
        pictures.append(pipeline.generate(TextToImage(prompt=scene.caption, seed=seed))[0])
        if len(pictures) % REPORT_EVERY == 0 or len(pictures) == len(scenes):
            report(f"drew {len(pictures)} of {len(scenes)}")
    return np.stack(pictures)


@torch.inference_mode()
def reconstructed(pipeline: Pipeline, pictures: Pictures) -> Pictures:
    """What the autoencoder leaves of pictures (n, h, w, 3)."""
    left = []
    for start in range(0, len(pictures), BATCH):
        images = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        autoencoder = pipeline.autoencoder
        left.append(to_uint8(autoencoder.decode(autoencoder.encode(images.to(pipeline.device, pipeline.dtype)))))
    whole: Pictures = torch.cat(left).cpu().numpy()
    return whole
