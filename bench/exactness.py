"""Whether a recipe is the same picture whoever shares its steps: equal bytes, and how far apart the others are."""

from __future__ import annotations

import hashlib
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from bench.common import Figure, run
from models import Pipeline, Row, TextToImage, load_pipeline

MODEL = "storybook"
STEPS = 12
SIZES = (2, 4, 8)
SEED = 17

# What equal pictures are said to be apart: PSNR has no number for it.
EQUAL_DB = 120.0


def measure(is_short: bool) -> Sequence[Figure]:
    """The share of pictures whose bytes are equal, reproducible ones and others, and PSNR of the others."""
    count = 2 if is_short else 24
    figures: list[Figure] = []
    for dtype, goal in ((torch.float32, ">= 60"), (torch.bfloat16, "")):
        name = str(dtype).removeprefix("torch.")
        pipeline = load_pipeline(MODEL, device="cpu", dtype=dtype)
        exact = [_apart(pipeline, _recipe(seed, reproducible=True)) for seed in range(count)]
        found = [_apart(pipeline, _recipe(seed)) for seed in range(count)]
        figures += [
            Figure(f"equal bytes, reproducible, in changing company, {name}", _equal(exact), "%", goal="100"),
            Figure(f"equal bytes, others, {name}", _equal(found), "%"),
            Figure(f"PSNR of others against alone, {name}, lowest", min(found), "dB", goal=goal),
            Figure(f"PSNR of others against alone, {name}, median", median(found), "dB", min(found), max(found)),
        ]
    here, there = digests(count), _digests_elsewhere(count)
    same = 100 * sum(one == other for one, other in zip(here, there, strict=True)) / count
    return [*figures, Figure("equal bytes, reproducible, after a restart, float32", same, "%", goal="100")]


def digests(count: int) -> list[str]:
    """SHA-256 of the pixels of so many reproducible pictures."""
    pipeline = load_pipeline(MODEL, device="cpu", dtype=torch.float32)
    recipes = [_recipe(seed, reproducible=True) for seed in range(count)]
    return [hashlib.sha256(pipeline.generate(recipe).tobytes()).hexdigest() for recipe in recipes]


def _digests_elsewhere(count: int) -> list[str]:
    """The same in a process of its own."""
    code = f"from bench.exactness import digests; print(*digests({count}))"
    return subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def _recipe(seed: int, *, reproducible: bool = False) -> TextToImage:
    return TextToImage(prompt="a fox in the snow", seed=seed, num_steps=STEPS, reproducible=reproducible)


def _equal(found: Sequence[float]) -> float:
    return 100 * sum(each == EQUAL_DB for each in found) / len(found)


def _apart(pipeline: Pipeline, recipe: TextToImage) -> float:
    """PSNR of the picture in company against itself alone, dB."""
    chance = random.Random(SEED + recipe.seed)
    alone = pipeline.generate(recipe)[0].astype(np.float64)
    (row,) = pipeline.begin(recipe)
    others: list[Row] = []
    while not row.is_done:
        size = chance.choice(SIZES)
        others = [other for other in others if not other.is_done][: size - 1]
        while len(others) < size - 1:
            others += pipeline.begin(_stranger(chance, pipeline.card.samplers, reproducible=recipe.reproducible))
        batch = [*others, row]
        chance.shuffle(batch)
        pipeline.step(batch)
    error = float(np.mean((pipeline.finish(row) - alone) ** 2))
    return EQUAL_DB if error == 0 else min(EQUAL_DB, 10 * math.log10(255**2 / error))


def _stranger(chance: random.Random, samplers: Sequence[str], *, reproducible: bool) -> TextToImage:
    """Somebody else's wish: other words, steps, guidance and sampler."""
    return TextToImage(
        prompt=chance.choice(("a red ball", "a house at night", "two cats")),
        seed=chance.randrange(2**32),
        num_steps=chance.randrange(3, 20),
        guidance_scale=chance.choice((2.0, 4.0, 7.0)),
        sampler=chance.choice(samplers),
        reproducible=reproducible,
    )


if __name__ == "__main__":
    run("exactness", measure)
