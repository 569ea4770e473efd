"""Noise: the same seed, the same picture, alone or in company, here or in diffusers."""

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from models.noise import draw, draw_rows, image_generator, image_seed

SHAPE = (4, 8, 8)


@pytest.mark.parametrize(
    ("seed", "index", "expected"), [(0, 0, 0), (42, 3, 45), (2**32 - 1, 0, 2**32 - 1), (2**32 - 1, 2, 1)]
)
def test_image_seed_counts_up_and_wraps(seed, index, expected):
    assert image_seed(seed, index) == expected


@pytest.mark.parametrize(
    ("seed", "index", "message"),
    [
        (-1, 0, "seed must be 0 to 4294967295, got -1"),
        (2**32, 0, "seed must be"),
        (1, -1, "index must be 0 or more, got -1"),
    ],
)
def test_seeds_outside_their_range_are_refused(seed, index, message):
    with pytest.raises(ValueError, match=message):
        image_seed(seed, index)


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_initial_noise_is_that_of_diffusers_cpu_generator(seed):
    theirs = randn_tensor((1, *SHAPE), generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
    assert torch.equal(draw(image_generator(seed), SHAPE), theirs[0])


def test_noise_of_the_steps_follows_in_the_order_of_diffusers():
    oracle = torch.Generator("cpu").manual_seed(42)
    theirs = [randn_tensor((1, *SHAPE), generator=oracle)[0] for _ in range(4)]
    generator = image_generator(42)
    ours = [draw(generator, SHAPE)] + [draw_rows([generator], SHAPE, [True])[0] for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_image_k_of_a_request_is_the_first_image_of_seed_plus_k():
    assert torch.equal(draw(image_generator(7, index=3), SHAPE), draw(image_generator(10), SHAPE))
    assert not torch.equal(draw(image_generator(7, index=3), SHAPE), draw(image_generator(7), SHAPE))


def test_a_row_draws_the_same_in_any_company():
    alone = draw_rows([image_generator(5)], SHAPE, [True])[0]
    generators = [image_generator(seed) for seed in (1, 5, 9)]
    assert torch.equal(draw_rows(generators, SHAPE, [False, True, True])[1], alone)


def test_a_row_that_needs_no_noise_leaves_its_generator_untouched():
    generators = [image_generator(1), image_generator(2)]
    rows = draw_rows(generators, SHAPE, [False, True])
    assert bool((rows[0] == 0).all())
    assert torch.equal(draw(generators[0], SHAPE), draw(image_generator(1), SHAPE))
    assert not torch.equal(draw(generators[1], SHAPE), draw(image_generator(2), SHAPE))


def test_drawing_leaves_torchs_global_generator_alone():
    before = torch.random.get_rng_state()
    draw_rows([image_generator(1)], SHAPE, [True])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_generator_is_told_whether_it_is_needed():
    with pytest.raises(ValueError, match="shorter"):
        draw_rows([image_generator(1), image_generator(2)], SHAPE, [True])
