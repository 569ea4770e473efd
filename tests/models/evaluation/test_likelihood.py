"""The two bounds: against the exact sum, against probabilities that add up to one, against an entropy that is known."""

import math

import pytest
import torch

from models import load_pipeline
from models.evaluation.likelihood import judge_likelihood, laplace_nats, latent_bound
from models.likelihood import variational_bound
from models.schedule import linear_schedule
from models.training.batches import Batch, draw_batch
from models.training.stages import STAGES
from tests.models.conftest import small_pipeline


def test_the_laplace_decoder_shares_out_exactly_one() -> None:
    values = torch.arange(256) / 127.5 - 1
    images = values.view(256, 1, 1, 1).expand(-1, 3, 1, 1)
    for centre, scale in ((0.0, 0.1), (0.97, 0.03), (-1.4, 0.5)):
        nats = laplace_nats(images, torch.full_like(images, centre), torch.full((3,), scale))
        assert float((-nats.double() / 3).exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_few_timesteps_estimate_the_sum_over_all() -> None:
    pipeline = small_pipeline(in_channels=9)
    pipeline.schedule = linear_schedule(12, 1e-2, 0.4)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(64, 4, 4, 4, generator=generator)
    captions = ("a fox in the snow",) * 64
    text = pipeline.text_encoder.encode(captions)
    nothing = torch.cat([torch.ones(64, 1, 4, 4), pipeline.autoencoder.encode(torch.zeros(64, 3, 16, 16))], dim=1)
    with torch.inference_mode():
        exact = variational_bound(
            lambda x, t: pipeline.unet(torch.cat([x, nothing], dim=1), t, text),
            x0,
            pipeline.schedule,
            lambda: torch.randn(x0.shape, generator=generator),
            "beta",
        ).total.mean()
        estimates = [latent_bound(pipeline, x0, captions, 4, generator).mean() for _ in range(4)]
    assert float(torch.stack(estimates).mean()) == pytest.approx(float(exact), rel=0.05)


def test_no_model_needs_less_than_eight_bits_for_pixels_by_lot() -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (8, 3, 32, 32), generator=generator)
    batch = Batch(pixels / 127.5 - 1, ("",) * 8, ())
    found = judge_likelihood(small_pipeline(), batch, batch, num_timesteps=4, seed=0)
    assert 8.0 <= found.bits_per_colour < math.inf


def test_the_bundled_model_knows_its_scenes() -> None:
    pipeline = load_pipeline("storybook")
    scenes = draw_batch(STAGES["a"], 64, 0, 8, split="held_out")
    found = judge_likelihood(pipeline, scenes, draw_batch(STAGES["a"], 64, 0, 16), num_timesteps=8, seed=0)
    noise = Batch(torch.rand(8, 3, 64, 64) * 2 - 1, scenes.captions, ())
    strange = judge_likelihood(pipeline, noise, noise, num_timesteps=8, seed=0)
    assert found.nats_per_latent < strange.nats_per_latent
    assert found.bits_per_colour < 6.5 < 8.0 < strange.bits_per_colour
