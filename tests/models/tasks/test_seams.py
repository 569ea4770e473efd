"""Pasting without a seam: the membrane is the harmonic one, and a picture shows no edge where its patch ends."""

import numpy as np
import pytest
import torch

from models import Inpaint, Pipeline
from models.tasks.seams import LARGEST, membrane, without_seam


def hole(height: int, width: int, rows: slice, columns: slice) -> torch.Tensor:
    known = torch.ones(height, width, dtype=torch.bool)
    known[rows, columns] = False
    return known


@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 20), (64, 96)])
def test_a_plane_is_continued_as_the_plane_that_it_is(height: int, width: int) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    plane = torch.stack([x, y, x - 2 * y])
    known = hole(height, width, slice(height // 4, height // 2), slice(width // 4, 3 * width // 4))
    assert (membrane(torch.where(known, plane, 9.0), known) - plane).abs().max() < 0.02


def test_what_is_continued_lies_within_what_is_known_and_keeps_it() -> None:
    values = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    known = hole(32, 32, slice(8, 24), slice(8, 24))
    continued = membrane(values, known)
    assert torch.equal(continued[:, known], values[:, known])
    inside = continued[:, ~known]
    assert inside.min() >= values[:, known].min()
    assert inside.max() <= values[:, known].max()


def test_where_nothing_is_known_nothing_is_added() -> None:
    new = torch.rand(3, 9, 7) * 255
    assert torch.equal(without_seam(new, torch.zeros_like(new), torch.zeros(9, 7, dtype=torch.bool)), new)


def test_a_colour_that_is_off_is_put_right_and_one_that_does_not_fit_is_not() -> None:
    old, known = torch.full((3, 32, 32), 100.0), hole(32, 32, slice(8, 24), slice(8, 24))
    off, strange = torch.full_like(old, 91.0), torch.full_like(old, 200.0)
    torch.testing.assert_close(without_seam(off, old, known), old)
    assert torch.allclose(without_seam(strange, old, known)[:, ~known], torch.tensor(200.0 - LARGEST))


def test_a_repainted_picture_has_the_smaller_step_at_the_masks_edge(pipeline: Pipeline) -> None:
    picture = np.full((32, 32, 3), 120, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True

    def step(blend: bool) -> float:
        made = pipeline.generate(Inpaint(prompt="a fox", image=picture, mask=mask, num_steps=1, seed=1, blend=blend))[0]
        assert (made[~mask] == 120).all()
        return float(np.abs(made[8, 8:24].astype(int) - 120).mean())

    assert step(blend=True) < step(blend=False)
