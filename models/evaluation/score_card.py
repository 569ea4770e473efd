"""Everything that can be measured of a model, as tables for people and as JSON; and the model card made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.classifier import BUNDLED_CLASSIFIER, load_classifier
from models.evaluation.distribution import FEWEST, Resemblance, resemblance
from models.evaluation.inpainting import InpaintingVerdict, judge_inpainting
from models.evaluation.likelihood import Likelihood, judge_likelihood
from models.evaluation.prompt_following import Judge, Pictures, Score, Verdict
from models.evaluation.report import HELD_OUT, REAL, SEEN, Drawing, Report, by_thing, drawings, prompt_following, table
from models.evaluation.super_resolution import Likeness, judge_super_resolution
from models.pipeline import Pipeline
from models.training.batches import draw_batch
from models.training.details import draw_detail
from models.training.domain import SPLITS, Stage

FILE = "evaluation.json"
BEGIN, END = "<!-- judged: made by `darkroom-models evaluate --write` -->", "<!-- judged: end -->"

_LIKELIHOOD_PICTURES, _LIKELIHOOD_TIMESTEPS = 64, 16
_ENLARGED_SIDE = 256
_SPLIT_NAMES = {"train": "combinations seen", "held_out": "held out"}


@dataclass(frozen=True, slots=True)
class ScoreCard:
    """What was measured; None and empty where the model has no such task. `revision` is of the weights judged."""

    name: str
    revision: str
    scenes: str
    count: int
    prompt_following: Mapping[str, Verdict]
    things: Mapping[str, Score]
    likelihood: Likelihood | None
    distribution: Resemblance | None
    inpainting: Mapping[str, InpaintingVerdict]
    super_resolution: Mapping[str, Mapping[str, Likeness]]


def score(pipeline: Pipeline, stage: Stage, *, count: int, report: Report) -> ScoreCard:
    """Every measure for every task of the model: `count` captions of each kind.

    Raises: ValueError for a stage that the judges cannot name.
    """
    tasks = pipeline.card.tasks
    # One for all, and first: it draws every scene that the stage can hold, and refuses a stage of too many.
    judge = Judge(stage, pipeline.card.native_width) if {"text_to_image", "inpaint"} & set(tasks) else None
    rows = drawings(pipeline, stage, count=count, report=report) if "text_to_image" in tasks else {}
    return ScoreCard(
        name=pipeline.card.name,
        revision=pipeline.card.revision,
        scenes=stage.name,
        count=count,
        prompt_following=prompt_following(rows, judge) if judge and rows else {},
        things=by_thing(rows, stage, judge) if judge and rows else {},
        distribution=_resemblance(rows, stage) if rows else None,
        likelihood=_likelihood(pipeline, stage, count) if rows else None,
        inpainting={}
        if judge is None or "inpaint" not in tasks
        else {
            _SPLIT_NAMES[split]: judge_inpainting(pipeline, stage, judge, split=split, count=count, report=report)
            for split in SPLITS
        },
        super_resolution={
            name: judge_super_resolution(pipeline, pictures, report=report)
            for name, pictures in (_enlarged(stage, count) if "super_resolution" in tasks else {}).items()
        },
    )


def _resemblance(rows: Mapping[str, Drawing], stage: Stage) -> Resemblance | None:
    """All that was drawn beside real scenes of the same captions; None without a classifier, or with too few."""
    classifier = load_classifier(BUNDLED_CLASSIFIER)
    drawn = np.concatenate([rows[SEEN].pictures, rows[HELD_OUT].pictures])
    if classifier.things != tuple(thing.name for thing in stage.things) or len(drawn) < FEWEST:
        return None
    return resemblance(classifier, drawn, rows[REAL].pictures)


def _likelihood(pipeline: Pipeline, stage: Stage, count: int) -> Likelihood:
    size = pipeline.card.native_width
    held_out = draw_batch(stage, size, 0, min(count, _LIKELIHOOD_PICTURES), split="held_out")
    fit_on = draw_batch(stage, size, 0, _LIKELIHOOD_PICTURES)
    return judge_likelihood(pipeline, held_out, fit_on, num_timesteps=_LIKELIHOOD_TIMESTEPS, seed=0)


def _enlarged(stage: Stage, count: int) -> dict[str, Pictures]:
    """What upscalers are judged on: whole scenes that are held out, and textures."""

    def drawn(share: float) -> Pictures:
        seeds = range(count)
        return np.stack(
            [draw_detail(seed, stage, _ENLARGED_SIDE, "held_out", texture_share=share)[0] for seed in seeds]
        )

    return {"scenes": drawn(0.0), "textures": drawn(1.0)}


# --- For people --------------------------------------------------------------------------------------


def markdown(card: ScoreCard) -> str:
    """The tables, with a sentence each on what they say."""
    parts = []
    if card.prompt_following:
        parts.append(
            "Does it draw what the prompt says? Each picture is named by the nearest of all scenes that the stage can "
            "hold; 95 % intervals in brackets. The first two rows say how far the naming itself can be trusted.\n\n"
            + table(card.prompt_following)
        )
        each = ", ".join(f"{name} {one.hits} of {one.trials}" for name, one in card.things.items())
        parts.append(f"Object by object, both kinds of captions together: {each}.")
    if card.distribution is not None:
        one = card.distribution
        parts.append(
            f"Do its pictures, taken together, look like real ones? {one.n} drawn beside {one.m} real, at 64 px, on "
            "features of this project's own classifier (not to be compared with published figures): "
            f"FID {one.fid:.2f}, KID {one.kid:.3f}, inception score {one.inception_score:.2f}, "
            f"precision {one.precision:.2f}, recall {one.recall:.2f}."
        )
    if card.likelihood is not None:
        parts.append(
            f"How well does it know its pictures? At most {card.likelihood.nats_per_latent:.3f} nats for a latent "
            f"number and {card.likelihood.bits_per_colour:.2f} bits for a colour of a pixel (both are bounds, on "
            "held-out scenes given their captions)."
        )
    if card.inpainting:
        rows = [
            [name, str(one.fills), str(one.untouched), f"{one.seam:.1f}", f"{one.seam_real:.1f}"]
            for name, one in card.inpainting.items()
        ]
        parts.append(
            "Does it paint into the mask what the prompt names? An object is masked and another asked for. The seam is "
            "the mean step between neighbouring pixels across the mask's edge, in 1/255, beside a real scene's.\n\n"
            + _table(["inpainted", "shows the object", "all else untouched", "seam", "seam, real"], rows)
        )
    for name, ways in card.super_resolution.items():
        rows = [
            [way, f"{one.psnr:.2f} dB", f"{one.ssim:.4f}", f"{one.consistency:.1f}/255"] for way, one in ways.items()
        ]
        parts.append(
            f"Are its enlargements near the truth? Held-out {name}, shrunk to a quarter and enlarged again.\n\n"
            + _table([name, "PSNR", "SSIM", "worst box average"], rows)
        )
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- Beside the weights ------------------------------------------------------------------------------


def write(card: ScoreCard, folder: Path) -> None:
    """evaluation.json, and the tables in the folder's README.md: between their marks, or at its end."""
    text = json.dumps(_plain(asdict(card)), indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")
    readme = folder / "README.md"
    old = readme.read_text(encoding="utf-8") if readme.is_file() else f"# {card.name}\n"
    readme.write_text(with_tables(old, markdown(card)), encoding="utf-8")


def with_tables(text: str, tables: str) -> str:
    """A model card with these tables: what stands between the marks is replaced, all else stays."""
    before, mark, rest = text.partition(BEGIN)
    if not mark:
        return f"{text.rstrip()}\n\n{BEGIN}\n\n{tables}\n\n{END}\n"
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _plain(value: Any) -> Any:
    """As JSON has it: a score's share beside its counts, no infinite number."""
    if isinstance(value, Mapping):
        given = {key: _plain(inner) for key, inner in value.items()}
        if given.keys() == {"hits", "trials"}:
            low, high = Score(**given).interval
            return given | {"share": given["hits"] / given["trials"], "low": round(low, 4), "high": round(high, 4)}
        return given
    return None if value == float("inf") else value
