"""A whole image of the bundled model: where its time goes, and against diffusers with the same weights and steps."""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

import models
from app.jobs.recipe import Recipe
from app.jobs.spec import TextToImage, resolve
from bench.common import ROUNDS, Figure, in_turns, ratio, run, spread
from models import Pipeline, load_pipeline
from worker.products import encode
from worker.studio import catalogue_entry

MODEL = "storybook"
FOLDER = Path(models.__file__).parent / "bundled" / MODEL
STEPS = 25
GUIDANCE_SCALE = 4.0
PROMPT = "a fox in the snow"
SEED = 7

T = TypeVar("T")

PARTS = ("text", "loop", "decode", "encode")


def measure(is_short: bool) -> Sequence[Figure]:
    """The parts of an image, the glue between its steps, and the ratio to diffusers."""
    rounds = 3 if is_short else ROUNDS + 8
    ours = load_pipeline(MODEL, device="cpu", dtype=torch.float32)
    theirs = _diffusers_picture(ours)
    seconds = in_turns({"ours": lambda: ours.generate(_request()), "diffusers": theirs}, rounds=rounds)
    split = _split(ours, rounds)
    whole = statistics.median(map(sum, zip(*(split[part] for part in PARTS), strict=True)))
    figures = [spread(f"{part}, {STEPS} steps", split[part], "s") for part in PARTS]
    figures.append(spread("steps alone", split["steps"], "s"))
    glue = [loop - steps for loop, steps in zip(split["loop"], split["steps"], strict=True)]
    figures.append(spread("glue: the loop without its steps", [100 * each / whole for each in glue], "% of the image"))
    figures.append(ratio("diffusers / ours, float32, same scheduler", seconds["diffusers"], seconds["ours"], ">= 1"))
    return figures


def _request() -> models.TextToImage:
    return models.TextToImage(prompt=PROMPT, seed=SEED, num_steps=STEPS, guidance_scale=GUIDANCE_SCALE)


def _split(pipeline: Pipeline, rounds: int) -> dict[str, list[float]]:
    """Seconds of every part, round by round; `steps` are those of the loop that pass inside the steps."""
    params = resolve(
        TextToImage(task="text_to_image", prompt=PROMPT, seed=SEED, steps=STEPS, guidance_scale=GUIDANCE_SCALE),
        catalogue_entry(pipeline, "bench"),
        seed=SEED,
    )
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        clock = _Clock(found)
        rows = clock.time("text", lambda: pipeline.begin(_request()))
        steps_s = 0.0
        started = time.perf_counter()
        while not rows[0].is_done:
            before = time.perf_counter()
            pipeline.step(rows)
            steps_s += time.perf_counter() - before
        found["loop"].append(time.perf_counter() - started)
        found["steps"].append(steps_s)
        pixels = clock.time("decode", partial(pipeline.finish, rows[0]))
        clock.time("encode", partial(encode, pixels, params, Recipe.of(params, 0, "r1")))
    return found


@dataclass(frozen=True, slots=True)
class _Clock:
    """Writes down how long things take."""

    found: dict[str, list[float]]

    def time(self, name: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        self.found[name].append(time.perf_counter() - started)
        return done


def _diffusers_picture(ours: Pipeline) -> Callable[[], Image.Image]:
    """The same picture by diffusers.  The model inpaints: it is given a mask of all, and what is under it encoded."""
    # It says much that is not about speed.
    os.environ.update(TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    from diffusers import StableDiffusionInpaintPipeline

    load: Any = StableDiffusionInpaintPipeline.from_pretrained
    oracle = load(FOLDER, safety_checker=None, torch_dtype=torch.float32)
    oracle.set_progress_bar_config(disable=True)
    side = ours.card.native_width
    grey = ours.autoencoder.encode(torch.zeros(1, 3, side, side))

    def draw() -> Image.Image:
        picture: Image.Image = oracle(
            PROMPT,
            image=torch.zeros(1, 3, side, side),
            mask_image=torch.ones(1, 1, side, side),
            masked_image_latents=grey,
            height=side,
            width=side,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
            generator=torch.Generator().manual_seed(SEED),
        ).images[0]
        return picture

    return draw


if __name__ == "__main__":
    run("image", measure)
