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
from models.prompt_syntax import PromptSyntax, Weighted, parse


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
        return self.tokenize_weighted([parse(prompt, "plain") for prompt in prompts])[0]

    def tokenize_weighted(self, prompts: Sequence[Sequence[Weighted]]) -> tuple[Tensor, Tensor]:
        """As `tokenize`, of stretches that each have their weight; and the weight of every token, 1 for the marks.

        Returns: (n, k, l) int64 and (n, k, l) float32, on the CPU.
        """
        chunks = [self._chunks(stretches) for stretches in prompts]
        most = max(len(own) for own in chunks)
        empty = self._framed([])
        filled = [own + [empty] * (most - len(own)) for own in chunks]
        ids = torch.tensor([[[one for one, _ in chunk] for chunk in own] for own in filled])
        weights = torch.tensor([[[weight for _, weight in chunk] for chunk in own] for own in filled])
        return ids, weights

    def forward(self, tokens: Tensor) -> Tensor:
        """The last hidden states of every chunk, side by side.

        Shapes: tokens (n, k, l). Returns (n, k * l, d).
        """
        states: Tensor = self.transformer(tokens.flatten(0, 1)).last_hidden_state  # (n * k, l, d)
        n, k, length = tokens.shape
        return states.reshape(n, k * length, -1)

    def encode(self, prompts: Sequence[str], syntax: PromptSyntax = "plain") -> Tensor:
        """The states of prompts, computed on the transformer's device. Returns (n, k * l, d).

        Raises: ValueError for a syntax or weight that there is not.
        """
        ids, weights = self.tokenize_weighted([parse(prompt, syntax) for prompt in prompts])
        states: Tensor = self(ids.to(self.device))
        return states if syntax == "plain" else emphasise(states, weights.to(self.device))

    def _chunks(self, stretches: Sequence[Weighted]) -> list[list[tuple[int, float]]]:
        tokens = []
        for stretch in stretches:
            # verbose=False: no warning that the prompt is longer than one chunk
            ids: list[int] = self.tokenizer(stretch.text, add_special_tokens=False, verbose=False)["input_ids"]
            tokens += [(one, stretch.weight) for one in ids]
        room = self.config.context_length - 2
        return [self._framed(tokens[start : start + room]) for start in range(0, max(len(tokens), 1), room)]

    def _framed(self, tokens: list[tuple[int, float]]) -> list[tuple[int, float]]:
        marks: Any = self.tokenizer
        padding = [(marks.pad_token_id, 1.0)] * (self.config.context_length - 2 - len(tokens))
        return [(marks.bos_token_id, 1.0), *tokens, (marks.eos_token_id, 1.0), *padding]


def emphasise(states: Tensor, weights: Tensor) -> Tensor:
    """Every token's state times its weight, then each chunk scaled so that its mean is what it was.

    Shapes: states (n, k * l, d); weights (n, k, l). Returns (n, k * l, d).
    Source: AUTOMATIC1111/stable-diffusion-webui, its "Original" emphasis; there the mean is that of the batch.
    """
    chunks = states.float().reshape(*weights.shape, -1)  # (n, k, l, d)
    weighted = chunks * weights[..., None]
    before, after = chunks.mean((2, 3), keepdim=True), weighted.mean((2, 3), keepdim=True)  # (n, k, 1, 1)
    # a mean of zero cannot be scaled back
    ratio = torch.where(after == 0, 1.0, before / after)
    return (weighted * ratio).reshape(states.shape).to(states.dtype)


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
