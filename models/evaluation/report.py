"""A model's score card: real scenes, what the autoencoder leaves of them, and what is drawn from their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from models.evaluation.prompt_following import Judge, Pictures, Verdict, captioned
from models.networks.autoencoder import to_uint8
from models.pipeline import Pipeline
from models.tasks import TextToImage
from models.training.domain import Scene, Stage
from models.training.pictures import render

Report = Callable[[str], None]
BATCH = 8  # pictures reconstructed at a time
REPORT_EVERY = 10


def prompt_following(pipeline: Pipeline, stage: Stage, *, count: int, report: Report) -> dict[str, Verdict]:
    """Verdicts by row of the table; `count` captions of scenes like those of training, and as many held out.

    Raises: ValueError for a stage that the judge cannot name (see `candidate_scenes`).
    """
    size = pipeline.card.native_width
    judge = Judge(stage, size)
    seen, held_out = captioned(stage, "train", count), captioned(stage, "held_out", count)
    rows: dict[str, tuple[Pictures, Sequence[Scene]]] = {}
    real = np.stack([render(scene, size) for scene in [*seen, *held_out]])
    rows["real scenes"] = (real, [*seen, *held_out])
    rows["reconstructions"] = (reconstructed(pipeline, real), [*seen, *held_out])
    for name, scenes in (("drawn, combinations seen", seen), ("drawn, held out", held_out)):
        rows[name] = (drawn(pipeline, scenes, report), scenes)
    return {name: judge.verdict(pictures, scenes) for name, (pictures, scenes) in rows.items()}


def table(verdicts: dict[str, Verdict]) -> str:
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
