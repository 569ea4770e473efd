"""Prompts to text states: CLIP's text transformer, run by `transformers`.

Axes: n prompts, k chunks, l tokens of one chunk (77 for Stable Diffusion), d text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.config import TextEncoderConfig


class TextEncoder(nn.Module):
    """A tokenizer and a transformer. Prompts longer than a chunk go on in the next; nothing is cut off."""

    def __init__(self, config: TextEncoderConfig, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.transformer = CLIPTextModel(transformer_config(config, tokenizer))

    @property
    def device(self) -> torch.device:
        """Where the transformer lives."""
        return self.transformer.device

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Token ids of every prompt, each chunk between BOS and EOS; all prompts get as many chunks as the longest.

        Returns: (n, k, l) int64, on the CPU.
        """
        chunks = [self._chunks(prompt) for prompt in prompts]
        most = max(len(own) for own in chunks)
        empty = self._framed([])
        return torch.tensor([own + [empty] * (most - len(own)) for own in chunks])

    def forward(self, tokens: Tensor) -> Tensor:
        """The last hidden states of every chunk, side by side.

        Shapes: tokens (n, k, l). Returns (n, k * l, d).
        """
        states: Tensor = self.transformer(tokens.flatten(0, 1)).last_hidden_state  # (n * k, l, d)
        return states.unflatten(0, tokens.shape[:2]).flatten(1, 2)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """`tokenize`, then `forward` on the transformer's device. Returns (n, k * l, d)."""
        states: Tensor = self(self.tokenize(prompts).to(self.device))
        return states

    def _chunks(self, prompt: str) -> list[list[int]]:
        # verbose=False: no warning that the prompt is longer than one chunk
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        room = self.config.context_length - 2
        return [self._framed(ids[start : start + room]) for start in range(0, max(len(ids), 1), room)]

    def _framed(self, ids: list[int]) -> list[int]:
        tokenizer: Any = self.tokenizer
        padding = [tokenizer.pad_token_id] * (self.config.context_length - 2 - len(ids))
        return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *padding]


def transformer_config(config: TextEncoderConfig, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """The same numbers in the words of `transformers`."""
    special: Any = tokenizer
    return CLIPTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.mlp_width or 4 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.context_length,
        hidden_act=config.activation,
        projection_dim=config.width,
        bos_token_id=special.bos_token_id,
        eos_token_id=special.eos_token_id,
        pad_token_id=special.pad_token_id,
    )
