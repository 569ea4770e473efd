"""Attention and the transformer that carries text into the picture.

Axes: b batch, c channels, h height, w width, n image tokens (h * w), m tokens looked at, k text tokens, d text width,
a heads, e width of one head.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def scaled_dot_product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(e)) v. Shapes: q (b, a, n, e), k and v (b, a, m, e). Returns (b, a, n, e).

    Source: Vaswani et al. 2017, eq. 1.
    """
    if q.requires_grad and q.device.type == "cpu":
        # Three plain products: on a CPU the fused kernel's backward costs a third of the training speed.
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (b, a, n, m)
        attended: Tensor = weights.softmax(dim=-1) @ v
        return attended
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head attention from x to `context`, or to x itself."""

    def __init__(self, channels: int, *, heads: int, context_dim: int | None = None, qkv_bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        context_dim = channels if context_dim is None else context_dim
        self.to_q = nn.Linear(channels, channels, bias=qkv_bias)
        self.to_k = nn.Linear(context_dim, channels, bias=qkv_bias)
        self.to_v = nn.Linear(context_dim, channels, bias=qkv_bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Shapes: x (b, n, c), context (b, m, d). Returns (b, n, c)."""
        looked_at = x if context is None else context
        q, k, v = (self._split(tokens) for tokens in (self.to_q(x), self.to_k(looked_at), self.to_v(looked_at)))
        merged = scaled_dot_product(q, k, v).transpose(1, 2).flatten(2)  # (b, n, c)
        out: Tensor = self.to_out[0](merged)
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        b, m, c = tokens.shape
        return tokens.view(b, m, self.heads, c // self.heads).transpose(1, 2)  # (b, a, m, e)


class GEGLU(nn.Module):
    """A linear layer whose one half gates the other (Shazeer 2020)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden, gate = self.proj(x).chunk(2, dim=-1)
        return hidden * F.gelu(gate)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """GEGLU to four times the width and back. The empty second entry keeps the weight names of Stable Diffusion."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward; each normalised before and added after."""

    def __init__(self, channels: int, *, heads: int, context_dim: int, only_cross_attention: bool) -> None:
        super().__init__()
        self.only_cross_attention = only_cross_attention
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads=heads, context_dim=context_dim if only_cross_attention else None)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, heads=heads, context_dim=context_dim)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Shapes: tokens (b, n, c), text (b, k, d). Returns (b, n, c)."""
        tokens = tokens + self.attn1(self.norm1(tokens), text if self.only_cross_attention else None)
        tokens = tokens + self.attn2(self.norm2(tokens), text)
        return tokens + self.ff(self.norm3(tokens))  # type: ignore[no-any-return]


class SpatialTransformer(nn.Module):
    """Transformer blocks over the cells of a feature map (Rombach et al. 2022, sec. 3.3 and appendix E.2.1).

    `linear` projects tokens (Stable Diffusion 2); otherwise a 1x1 convolution projects cells (Stable Diffusion 1).
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        context_dim: int,
        depth: int,
        groups: int,
        linear: bool,
        only_cross_attention: bool,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in: nn.Module = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads=heads, context_dim=context_dim, only_cross_attention=only_cross_attention)
            for _ in range(depth)
        )
        self.proj_out: nn.Module = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Shapes: x (b, c, h, w), text (b, k, d). Returns (b, c, h, w)."""
        size = x.shape[-2:]
        normed = self.norm(x)
        if self.linear:
            tokens = self.proj_in(normed.flatten(2).transpose(1, 2))  # (b, n, c)
        else:
            tokens = self.proj_in(normed).flatten(2).transpose(1, 2)  # (b, n, c)
        for block in self.transformer_blocks:
            tokens = block(tokens, text)
        if self.linear:
            out = self.proj_out(tokens).transpose(1, 2).unflatten(2, size)  # (b, c, h, w)
        else:
            out = self.proj_out(tokens.transpose(1, 2).unflatten(2, size))
        return x + out  # type: ignore[no-any-return]


class SingleHeadAttention(nn.Module):
    """The autoencoder's one attention over all cells of its middle (Rombach et al. 2022, appendix G)."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (b, c, h, w). Returns (b, c, h, w)."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # (b, 1, n, c)
        attended = scaled_dot_product(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        out = self.to_out[0](attended[:, 0]).transpose(1, 2).unflatten(2, x.shape[-2:])  # (b, c, h, w)
        return x + out  # type: ignore[no-any-return]
