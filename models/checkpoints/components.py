"""The three networks of a diffusers folder, each from a sub-folder: a config, then weights that fit it exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from models.checkpoints.diffusers_config import read_autoencoder, read_text_encoder, read_unet
from models.checkpoints.json_fields import read_json
from models.checkpoints.tokenizer import load_tokenizer
from models.checkpoints.weights import Rename, match_weights, read_weights, weight_files
from models.errors import CheckpointError
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet

N = TypeVar("N", bound=nn.Module)

UNET_STEM, TEXT_STEM = "diffusion_pytorch_model", "model"
# How diffusers wrote the autoencoder's attention before its version 0.17, and published files still do.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_unet(folder: Path, *, device: torch.device, dtype: torch.dtype) -> UNet:
    """The UNet of a component folder. Raises: CheckpointError."""
    return _load(empty_unet(folder), folder, UNET_STEM, device, dtype)


def load_autoencoder(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """The autoencoder of a component folder. Raises: CheckpointError."""
    return _load(empty_autoencoder(folder), folder, UNET_STEM, device, dtype, rename=autoencoder_key)


def load_text_encoder(folder: Path, tokenizer: Path, *, device: torch.device, dtype: torch.dtype) -> TextEncoder:
    """The text encoder of a component folder, with the tokenizer of another. Raises: CheckpointError."""
    text_encoder = empty_text_encoder(folder, tokenizer)
    _load(text_encoder.transformer, folder, TEXT_STEM, device, dtype, rename=text_key)
    # the one buffer that files leave out
    positions = torch.arange(text_encoder.config.context_length, device=device)[None]
    text_encoder.transformer.embeddings.register_buffer("position_ids", positions, persistent=False)
    return text_encoder.eval()


def empty_unet(folder: Path) -> UNet:
    """The UNet of a component folder on the meta device: all but its weights. Raises: CheckpointError."""
    config = read_unet(read_json(folder / "config.json"))
    with torch.device("meta"):
        return UNet(config)


def empty_autoencoder(folder: Path) -> Autoencoder:
    """The autoencoder of a component folder on the meta device. Raises: CheckpointError."""
    config = read_autoencoder(read_json(folder / "config.json"))
    with torch.device("meta"):
        return Autoencoder(config)


def empty_text_encoder(folder: Path, tokenizer: Path) -> TextEncoder:
    """The tokenizer, and the text encoder on the meta device. Raises: CheckpointError."""
    config = read_text_encoder(read_json(folder / "config.json"))
    words = load_tokenizer(tokenizer)
    if len(words) > config.vocab_size:
        raise CheckpointError(f"{tokenizer} knows {len(words)} pieces, the text encoder {config.vocab_size}")
    with torch.device("meta"):
        return TextEncoder(config, words)


def autoencoder_key(stored: str) -> str:
    """The autoencoder's name for a key of a file, which may be in the old words."""
    head, dot, rest = stored.partition(".mid_block.attentions.0.")
    name, _, kind = rest.rpartition(".")
    return f"{head}{dot}{_OLD_ATTENTION.get(name, name)}.{kind}" if dot else stored


def text_key(stored: str) -> str | None:
    """The text encoder's name for a key of a file: transformers before version 5 wrote a prefix, and the positions."""
    key = stored.removeprefix("text_model.")
    return None if key == "embeddings.position_ids" else key


def _load(network: N, folder: Path, stem: str, device: torch.device, dtype: torch.dtype, *, rename: Rename = str) -> N:
    """A network on the meta device becomes one with weights: nothing is allocated before every key and shape fits."""
    matched = match_weights(network, weight_files(folder, stem), rename)
    # the layout is chosen while it costs nothing: changing it later would hold each convolution twice
    network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.to_empty(device=device).eval().requires_grad_(False)
    read_weights(network, matched)
    return network
