"""What single changes inside a step bring, each as the most that it can: what would be kept is not computed at all.

Every side is the step as it is, with one thing changed; all take turns. docs/PERFORMANCE.md says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common import ROUNDS, Figure, in_turns, ratio, run
from bench.unet_step import Case, bundled, our_step, real_shape
from models.networks.attention import Attention, TransformerBlock
from models.networks.layers import ResnetBlock
from models.networks.unet import UNet


class Kept(nn.Module):
    """Answers as the layer did the first time."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.answer: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.answer is None:
            self.answer = self.layer(x)
        return self.answer


class Fused(nn.Module):
    """Queries, keys and values of a self-attention by one product."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.weight = torch.cat([attention.to_q.weight, attention.to_k.weight, attention.to_v.weight])
        self.out = attention.to_out[0]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        q, k, v = F.linear(x, self.weight).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        attended: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return attended


class Plain(Attention):
    """Attention in three plain operations."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        looked_at = x if context is None else context
        q, k, v = (self._split(tokens) for tokens in (self.to_q(x), self.to_k(looked_at), self.to_v(looked_at)))
        weights = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        attended: Tensor = self.to_out[0]((weights.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return attended


def keep_text(unet: UNet) -> None:
    """The text's keys and values, computed once a job."""
    for block in unet.modules():
        if isinstance(block, TransformerBlock):
            block.attn2.to_k, block.attn2.to_v = Kept(block.attn2.to_k), Kept(block.attn2.to_v)  # type: ignore[assignment]


def keep_time(unet: UNet) -> None:
    """The embedding of every timestep, and what each block makes of it, computed once a plan."""
    unet.time_embedding = Kept(unet.time_embedding)  # type: ignore[assignment]
    for block in unet.modules():
        if isinstance(block, ResnetBlock) and block.time_emb_proj is not None:
            block.time_emb_proj = Kept(block.time_emb_proj)  # type: ignore[assignment]


def fuse(unet: UNet) -> None:
    """One product in place of three."""
    for block in unet.modules():
        if isinstance(block, TransformerBlock) and not block.only_cross_attention:
            block.attn1 = Fused(block.attn1)  # type: ignore[assignment]


def unfuse_attention(unet: UNet) -> None:
    """Without the fused kernel that is used now."""
    for module in unet.modules():
        if type(module) is Attention:
            module.__class__ = Plain


def lay_out_plainly(unet: UNet) -> None:
    """Without the layout that is used now: channels first, cells last."""
    unet.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    unet.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))


CHANGES: dict[str, Callable[[UNet], None]] = {
    "text keys and values kept": keep_text,
    "time embeddings kept": keep_time,
    "queries, keys, values by one product": fuse,
    "without the fused attention kernel": unfuse_attention,
    "without channels_last": lay_out_plainly,
}


def figures_of(case: Case, dtype: torch.dtype, rounds: int) -> list[Figure]:
    """The step as it is, by every changed one: above 1 the change pays."""
    sides: dict[str, Callable[[], Tensor]] = {"as it is": our_step(case, dtype)}
    for name, change in CHANGES.items():
        unet = deepcopy(case.unet)
        change(unet)
        sides[name] = our_step(replace(case, unet=unet), dtype)
    expected = sides["as it is"]()
    if dtype is torch.float32:
        for side in sides.values():
            torch.testing.assert_close(side(), expected, rtol=1e-4, atol=1e-4)
    seconds = in_turns(sides, rounds=rounds)
    return [ratio(f"{case.name}: as it is / {name}", seconds["as it is"], seconds[name]) for name in CHANGES]


def measure(is_short: bool) -> Sequence[Figure]:
    """The bundled model, and unless it is to be short, the real shape."""
    figures = figures_of(bundled(), torch.float32, ROUNDS if is_short else 5 * ROUNDS)
    if not is_short:
        figures += figures_of(real_shape(), torch.bfloat16, ROUNDS)
    return figures


if __name__ == "__main__":
    run("inside_step", measure)
