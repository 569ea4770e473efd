"""Guidance: each row by its own scale and interval, and no unconditional answer that nobody needs."""

import pytest
import torch

from models.guidance import Guidance, guide, guided_rows, stack_rows


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(x, states):
    """A stand-in: the answer depends on the row's x and on its text, and on nothing else."""
    return torch.tanh(x + states.mean((1, 2)).view(-1, 1, 1, 1))


def step(x, cond, uncond, scales):
    guided = guided_rows(scales)
    both = network(stack_rows(x, guided), torch.cat([cond, uncond[guided]]))
    return guide(both, scales, guided)


def test_every_row_is_guided_by_its_own_scale():
    x, cond, uncond = normal(4, 4, 8, 8), normal(4, 77, 6, seed=1), normal(4, 77, 6, seed=2)
    scales = [7.5, 1.0, 0.0, 2.0]
    result = step(x, cond, uncond, scales)
    for row, scale in enumerate(scales):
        c, u = (network(x[row : row + 1], states[row : row + 1]) for states in (cond, uncond))
        torch.testing.assert_close(result[row : row + 1], u + scale * (c - u))


def test_a_row_gives_the_same_alone_and_in_any_company():
    x, cond, uncond = normal(3, 4, 8, 8), normal(3, 77, 6, seed=1), normal(3, 77, 6, seed=2)
    scales = [3.0, 1.0, 5.0]
    together = step(x, cond, uncond, scales)
    for row, scale in enumerate(scales):
        one = slice(row, row + 1)
        assert torch.equal(together[one], step(x[one], cond[one], uncond[one], [scale]))


def test_scale_1_asks_for_no_unconditional_answer():
    x, cond, uncond = normal(3, 4, 8, 8), normal(3, 77, 6, seed=1), normal(3, 77, 6, seed=2)
    assert guided_rows([1.0, 1.0, 1.0]) == []
    assert stack_rows(x, []).shape == x.shape
    assert torch.equal(step(x, cond, uncond, [1.0, 1.0, 1.0]), network(x, cond))
    assert len(stack_rows(x, guided_rows([1.0, 4.0, 1.0]))) == 4
    assert torch.equal(stack_rows(x, [1])[3], x[1])


def test_guidance_is_float32_whatever_the_network_answers():
    both = normal(2, 4, 8, 8).half()
    result = guide(both, [7.5], [0])
    assert result.dtype == torch.float32
    expected = both[1:].float() + 7.5 * (both[:1].float() - both[1:].float())
    assert torch.equal(result, expected)


def test_the_answers_must_be_as_many_as_the_rows_asked_for():
    with pytest.raises(ValueError, match="2 rows, 1 of them guided, make 3 answers, got 4"):
        guide(normal(4, 4, 8, 8), [7.5, 1.0], [0])


@pytest.mark.parametrize(
    ("interval", "guided_steps"),
    [((0.0, 1.0), [0, 1, 2, 3, 4]), ((0.2, 0.8), [1, 2, 3]), ((0.5, 0.5), []), ((0.0, 0.1), [0]), ((0.7, 1.0), [4])],
)
def test_a_step_is_guided_if_it_lies_in_the_interval(interval, guided_steps):
    guidance = Guidance(7.5, interval)
    assert [i for i in range(5) if guidance.scale_at(i, 5) == 7.5] == guided_steps
    assert {guidance.scale_at(i, 5) for i in range(5) if i not in guided_steps} <= {1.0}


@pytest.mark.parametrize(
    ("scale", "interval", "message"),
    [
        (-1.0, (0.0, 1.0), "guidance_scale must be 0 or more, got -1"),
        (float("nan"), (0.0, 1.0), "guidance_scale must be"),
        (float("inf"), (0.0, 1.0), "guidance_scale must be"),
        (7.5, (0.6, 0.4), "guidance_interval must be 0 <= from <= to <= 1, got 0.6 to 0.4"),
        (7.5, (-0.1, 0.4), "guidance_interval"),
        (7.5, (0.0, 1.1), "guidance_interval"),
    ],
)
def test_guidance_says_what_is_allowed(scale, interval, message):
    with pytest.raises(ValueError, match=message):
        Guidance(scale, interval)
