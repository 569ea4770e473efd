"""What a model folder holds, as far as its configs and headers tell: enough to offer a model that is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.card import ModelCard
from models.checkpoints import card_file
from models.checkpoints.components import (
    TEXT_STEM,
    UNET_STEM,
    autoencoder_key,
    empty_autoencoder,
    empty_text_encoder,
    empty_unet,
    text_key,
)
from models.checkpoints.diffusers import check_fit, read_index
from models.checkpoints.diffusers_scheduler import read_low_res, read_sampler, read_schedule
from models.checkpoints.json_fields import read_json
from models.checkpoints.weights import match_weights, weight_files


@dataclass(frozen=True, slots=True)
class Survey:
    """A model's card, how many numbers its networks hold, and how many pixels the side of a latent cell has."""

    card: ModelCard
    numbers: int
    factor: int


def survey_folder(folder: Path) -> Survey:
    """Everything that `load_folder` checks, but for the weights themselves, of which none is read.

    Raises: CheckpointError saying which file, and what is wrong with it.
    """
    read_index(folder)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    read_schedule(scheduler)
    unet = empty_unet(folder / "unet")
    autoencoder = empty_autoencoder(folder / "vae")
    text_encoder = empty_text_encoder(folder / "text_encoder", folder / "tokenizer")
    check_fit(unet, autoencoder, text_encoder, read_low_res(folder))
    match_weights(unet, weight_files(folder / "unet", UNET_STEM))
    match_weights(autoencoder, weight_files(folder / "vae", UNET_STEM), autoencoder_key)
    match_weights(text_encoder.transformer, weight_files(folder / "text_encoder", TEXT_STEM), text_key)
    card_file.read_preview(folder)
    card = card_file.read(folder)
    if card is None:
        sampler = read_sampler(scheduler).name
        card = card_file.plain_card(folder, unet, autoencoder, text_encoder, sampler=sampler)
    networks = (unet, autoencoder, text_encoder.transformer)
    numbers = sum(weights.numel() for network in networks for weights in network.parameters())
    return Survey(card, numbers, autoencoder.config.factor)
