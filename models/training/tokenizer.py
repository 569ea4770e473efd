"""A CLIP-style tokenizer for the words of our captions: byte-pair encoding, trained in a second."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def train_tokenizer(captions: Iterable[str], *, max_merges: int, context_length: int) -> CLIPTokenizer:
    """A tokenizer that knows the words of the captions and spells every other text byte by byte.

    The ids are in CLIP's order: 256 bytes, 256 bytes that end a word, the merges, BOS, EOS.
    """
    merges = _learn_merges(captions)[:max_merges]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [
        *alphabet,
        *(byte + END_OF_WORD for byte in alphabet),
        *("".join(pair) for pair in merges),
        BOS,
        EOS,
    ]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    pairs: Any = merges  # transformers annotates strings and takes pairs
    return CLIPTokenizer(vocab=vocab, merges=pairs, model_max_length=context_length)


def _learn_merges(captions: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of pieces worth joining, the most frequent first."""
    clip = CLIPTokenizer().backend_tokenizer  # an empty one: how CLIP normalises and splits text
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.normalizer = clip.normalizer
    learner.pre_tokenizer = clip.pre_tokenizer
    learner.train_from_iterator(captions, trainers.BpeTrainer(end_of_word_suffix=END_OF_WORD, show_progress=False))
    return [(first, second) for first, second in json.loads(learner.to_str())["model"]["merges"]]
