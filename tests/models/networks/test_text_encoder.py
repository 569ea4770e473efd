"""Prompts of any length become text states, as `transformers` computes them."""

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from models.checkpoints.diffusers_config import read_text_encoder
from models.config import TextEncoderConfig
from models.networks.text_encoder import TextEncoder, emphasise
from models.training.tokenizer import train_tokenizer
from tests.models.conftest import CAPTIONS

LENGTH = 8


@pytest.fixture
def encoder() -> TextEncoder:
    tokenizer = train_tokenizer(CAPTIONS, max_merges=100, context_length=LENGTH)
    config = TextEncoderConfig(
        vocab_size=len(tokenizer.get_vocab()), width=16, layers=2, heads=2, context_length=LENGTH
    )
    return TextEncoder(config, tokenizer).eval()


@torch.no_grad()
def test_one_chunk_is_what_the_transformer_says(encoder: TextEncoder) -> None:
    padded = encoder.tokenizer(CAPTIONS[0], padding="max_length", max_length=LENGTH, return_tensors="pt")
    expected = encoder.transformer(padded["input_ids"]).last_hidden_state
    torch.testing.assert_close(encoder.encode([CAPTIONS[0]]), expected)


@torch.no_grad()
def test_a_long_prompt_goes_on_in_the_next_chunk_and_nothing_is_cut_off(encoder: TextEncoder) -> None:
    words = "a fox in the snow " * 4  # 20 tokens: four chunks of six between their marks
    tokens = encoder.tokenize([words, "a fox"])
    assert tokens.shape == (2, 4, LENGTH)
    kept = [id for chunk in tokens[0].tolist() for id in chunk if id not in (tokens[0, 0, 0], tokens[0, -1, -1])]
    assert kept == encoder.tokenizer(words, add_special_tokens=False)["input_ids"]
    states = encoder(tokens)
    assert states.shape == (2, 4 * LENGTH, 16)
    torch.testing.assert_close(states[1, :LENGTH], encoder.encode(["a fox"])[0])


def test_an_empty_prompt_is_one_chunk_of_marks_and_padding(encoder: TextEncoder) -> None:
    tokenizer = encoder.tokenizer
    marks = [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * (LENGTH - 1)
    assert encoder.tokenize([""]).tolist() == [[marks]]


def test_words_that_were_never_seen_are_spelled_and_come_back(encoder: TextEncoder) -> None:
    ids = encoder.tokenizer("zebra 狐 ñ", add_special_tokens=False)["input_ids"]
    assert encoder.tokenizer.unk_token_id not in ids
    assert encoder.tokenizer.decode(ids) == "zebra 狐 ñ"


def test_every_id_is_inside_the_embedding(encoder: TextEncoder) -> None:
    vocabulary = encoder.tokenizer.get_vocab()
    assert max(vocabulary.values()) < encoder.config.vocab_size


@torch.no_grad()
def test_weights_multiply_the_states_of_their_tokens_and_leave_the_mean_of_the_chunk(encoder: TextEncoder) -> None:
    plain, weighted = encoder.encode(["a fox"]), encoder.encode(["a (fox:1.5)"], "weighted")
    ids = encoder.tokenizer("a fox", add_special_tokens=False)["input_ids"]
    own = len(encoder.tokenizer("a", add_special_tokens=False)["input_ids"])
    expected = plain.clone()
    expected[0, 1 + own : 1 + len(ids)] *= 1.5
    expected *= plain.mean() / expected.mean()
    torch.testing.assert_close(weighted, expected)
    torch.testing.assert_close(weighted.mean(), plain.mean())


@torch.no_grad()
def test_each_chunk_of_each_prompt_keeps_its_own_mean(encoder: TextEncoder) -> None:
    words = "a fox in the snow " * 4
    alone = encoder.encode([f"{words}(owl:2)"], "weighted")
    plain = encoder.encode([f"{words}owl"])
    together = encoder.encode([f"{words}(owl:2)", "(a:3) fox"], "weighted")
    torch.testing.assert_close(together[0], alone[0])
    torch.testing.assert_close(alone[:, :LENGTH], plain[:, :LENGTH])  # the weighted word is in the last chunk
    assert not torch.allclose(alone[:, -LENGTH:], plain[:, -LENGTH:])


@torch.no_grad()
def test_a_prompt_without_weights_is_the_same_in_both_syntaxes(encoder: TextEncoder) -> None:
    assert torch.equal(encoder.encode(CAPTIONS, "weighted"), encoder.encode(CAPTIONS))


def test_a_chunk_whose_mean_is_lost_stays_finite() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])  # (1, 2, 2)
    assert torch.equal(emphasise(states, torch.zeros(1, 1, 2)), torch.zeros(1, 2, 2))


@pytest.mark.parametrize(
    "published",
    [
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12},
        {
            "hidden_act": "gelu",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 23,
        },
    ],
    ids=["SD 1: CLIP ViT-L/14", "SD 2: OpenCLIP ViT-H/14"],
)
def test_real_sizes_have_the_same_keys_and_shapes_as_transformers(
    published: dict[str, object], encoder: TextEncoder
) -> None:
    with torch.device("meta"):
        oracle = CLIPTextModel(CLIPTextConfig(**published))
        ours = TextEncoder(read_text_encoder(published), encoder.tokenizer).transformer
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in oracle.state_dict().items()}
    assert ours.config.hidden_act == oracle.config.hidden_act
