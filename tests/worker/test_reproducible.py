"""Reproducible pictures: the same bytes in any company, after a restart, in another process; by hash, on the engine."""

import hashlib
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import ImageToImage, Inpaint, Pipeline, Request, SuperResolution, TextToImage, load_pipeline
from models.checkpoints.writing import save_folder
from tests.models.conftest import small_pipeline
from tests.worker.test_company import MASK, PICTURE, SIDE, Kept, develop, psnr

ROOT = Path(__file__).parents[2]
NUM_JOBS = 50

ELSEWHERE = """
import hashlib, pickle, sys
import torch
torch.set_num_threads(int(sys.argv[3]))
from models import load_pipeline
pipeline = load_pipeline(sys.argv[1])
for request in pickle.load(open(sys.argv[2], "rb")):
    print(hashlib.sha256(pipeline.generate(request)[0].tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights that paints, as workers find one."""
    folder = tmp_path_factory.mktemp("models") / "small"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_folder(small_pipeline(), folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    return load_pipeline(folder)


def wishes(count: int) -> list[Request]:
    """Reproducible pictures, as different as they may be."""
    dice = random.Random(5)
    made: list[Request] = []
    for place in range(count):
        common: dict[str, Any] = {
            "prompt": dice.choice(["a fox in the snow", "a big owl at night"]),
            "seed": place,
            "num_steps": dice.randint(1, 2),
            "guidance_scale": dice.choice([1.0, 3.0, 7.5]),
            "guidance_interval": dice.choice([(0.0, 1.0), (0.25, 0.75)]),
            "sampler": dice.choice(["ddim", "ddpm", "dpmpp_2m"]),
            "reproducible": True,
        }
        made.append(
            [
                TextToImage(width=SIDE, height=dice.choice([SIDE, 2 * SIDE]), **common),
                ImageToImage(image=PICTURE, **common),
                Inpaint(image=PICTURE, mask=MASK, **common),
            ][place % 3]
        )
    return made


def strangers(dice: random.Random) -> list[Request]:
    """Pictures of others, of the same shapes, that are not reproducible."""
    return [
        TextToImage(prompt="a red apple", width=SIDE, height=SIDE, seed=seed, num_steps=dice.randint(1, 9),
                    num_images=2, guidance_scale=3.0)
        for seed in range(4)
    ]  # fmt: skip


def hashes(works: Sequence[Kept]) -> list[str]:
    return [hashlib.sha256(work.pictures[0].tobytes()).hexdigest() for work in works]


def alone(pipeline: Pipeline, requests: Sequence[Request]) -> list[str]:
    return [hashlib.sha256(pipeline.generate(request)[0].tobytes()).hexdigest() for request in requests]


def test_fifty_reproducible_jobs_in_changing_company_have_the_bytes_that_they_have_alone(pipeline: Pipeline) -> None:
    requests = wishes(NUM_JOBS)
    expected = alone(pipeline, requests)
    assert len(set(expected)) == NUM_JOBS
    for max_rows in (1, 8):
        dice = random.Random(max_rows)
        mine = [Kept(pipeline, request, owner=f"mine {place % 5}") for place, request in enumerate(requests)]
        others = [Kept(pipeline, request, owner=f"other {place}") for place, request in enumerate(strangers(dice))]
        company = [*mine, *others]
        dice.shuffle(company)
        sizes = develop(company, max_rows)
        assert max(sizes) == max_rows
        assert hashes(mine) == expected


def test_image_k_of_a_job_has_the_bytes_of_a_job_of_its_own(pipeline: Pipeline) -> None:
    request = TextToImage(prompt="a fox", width=SIDE, height=SIDE, seed=3, num_steps=3, num_images=3, reproducible=True)
    single = [pipeline.generate(replace(request, seed=3 + index, num_images=1))[0] for index in range(3)]
    assert np.array_equal(pipeline.generate(request), single)


def test_tiles_in_company_have_the_bytes_that_they_have_alone() -> None:
    upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
    request = SuperResolution(image=PICTURE[:12, :12], num_steps=2, guidance_scale=2.0, reproducible=True)
    expected = alone(upscaler, [replace(request, seed=seed) for seed in range(3)])
    others = [Kept(upscaler, replace(request, seed=9, reproducible=False), owner="other") for _ in range(3)]
    mine = [Kept(upscaler, replace(request, seed=seed)) for seed in range(3)]
    assert upscaler.begin(request)[0].tiling is not None
    develop([*others, *mine], max_rows=4)
    assert hashes(mine) == expected


def test_a_process_that_starts_anew_makes_the_same_bytes(folder: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    requests, threads = wishes(6), torch.get_num_threads()
    (tmp_path / "requests").write_bytes(pickle.dumps(requests))
    words = [sys.executable, "-c", ELSEWHERE, folder, tmp_path / "requests", str(threads)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    mine = [Kept(pipeline, request, owner=str(place)) for place, request in enumerate(requests)]
    develop(mine, max_rows=4)
    assert hashes(mine) == told.stdout.split()


def test_every_step_is_computed_as_two_rows_and_the_text_as_two_prompts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()
    texts: list[int] = []
    unet, encode = pipeline.unet.forward, pipeline.text_encoder.encode

    def watched(x: torch.Tensor, **more: Any) -> torch.Tensor:
        shapes.add(tuple(x.shape))
        return unet(x, **more)

    def read(prompts: Sequence[str], *more: Any) -> torch.Tensor:
        texts.append(len(prompts))
        return encode(prompts, *more)

    monkeypatch.setattr(pipeline.unet, "forward", watched)
    monkeypatch.setattr(pipeline.text_encoder, "encode", read)
    for scale, interval in ((1.0, (0.0, 1.0)), (3.0, (0.0, 0.5)), (3.0, (0.0, 1.0))):
        pipeline.generate(
            TextToImage(prompt="a fox", num_steps=2, num_images=2, guidance_scale=scale, guidance_interval=interval,
                        reproducible=True)
        )  # fmt: skip
    assert shapes == {(2, 4, SIDE // 4, SIDE // 4)}
    assert set(texts) == {2}


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_reproducible_picture_is_the_picture_that_it_is_otherwise(pipeline: Pipeline, scale: float) -> None:
    request = TextToImage(prompt="a fox", seed=1, num_steps=3, guidance_scale=scale)
    latents = []
    for reproducible in (False, True):
        rows = pipeline.begin(replace(request, reproducible=reproducible))
        for _ in range(3):
            pipeline.step(rows)
        latents.append(rows[0].latents)
    assert psnr(latents[1], latents[0]) >= 60


def test_reproducible_rows_share_no_step_so_that_nobody_waits_for_several(pipeline: Pipeline) -> None:
    request = TextToImage(prompt="a fox", num_steps=2, num_images=2, reproducible=True)
    mine = [Kept(pipeline, request), Kept(pipeline, request, owner="b")]
    assert set(develop(mine, max_rows=8)) == {1}
