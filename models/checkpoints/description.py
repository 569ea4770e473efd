"""What a folder or file is, also where it is broken: from configs and headers, without reading one weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import nn

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
from models.checkpoints.likely_cause import looks_like
from models.checkpoints.weights import PICKLES, Rename, match_weights, weight_files
from models.errors import CheckpointError
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet

T = TypeVar("T")


@dataclass(slots=True)
class Description:
    """Facts as (name, what is said); problems, none for what can be loaded."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, said: str) -> None:
        """One more fact."""
        self.facts.append((name, said))

    def attempt(self, name: str, read: Callable[[], T]) -> T | None:
        """What could be read; or None, and one more problem."""
        try:
            return read()
        except CheckpointError as error:
            self.problems.append(f"{name}: {error}")
            return None


def describe(path: Path) -> Description:
    """What a diffusers folder is, or what a file is in place of one. Nothing that it finds makes it raise."""
    description = Description()
    if not path.is_dir():
        description.problems.append(_told_of_file(path))
        return description
    index = description.attempt("model_index.json", lambda: read_index(path))
    if index is not None:
        description.add("pipeline", str(index.get("_class_name", "not named")))
    unet = description.attempt("unet", lambda: empty_unet(path / "unet"))
    autoencoder = description.attempt("vae", lambda: empty_autoencoder(path / "vae"))
    text_encoder = description.attempt(
        "text_encoder", lambda: empty_text_encoder(path / "text_encoder", path / "tokenizer")
    )
    if unet is not None and autoencoder is not None and text_encoder is not None:
        description.attempt("model_index.json", lambda: check_fit(unet, autoencoder, text_encoder))
        card = description.attempt(card_file.NAME, lambda: _card(path, unet, autoencoder, text_encoder))
        if card is not None:
            _tell_card(description, card)
    if unet is not None:
        shape = unet.config
        described = f"{shape.in_channels} -> {shape.out_channels} channels, levels {shape.channels}"
        _tell_network(description, "unet", described, unet, path / "unet", UNET_STEM)
    if autoencoder is not None:
        vae = autoencoder.config
        described = f"f = {vae.factor}, {vae.latent_channels} latent channels, levels {vae.channels}"
        _tell_network(description, "vae", described, autoencoder, path / "vae", UNET_STEM, autoencoder_key)
    if text_encoder is not None:
        text = text_encoder.config
        described = f"{text.layers} layers, {text.width} wide, {text.context_length} tokens, {text.activation}"
        network = text_encoder.transformer
        _tell_network(description, "text_encoder", described, network, path / "text_encoder", TEXT_STEM, text_key)
    _tell_schedules(description, path)
    return description


def _card(folder: Path, unet: UNet, autoencoder: Autoencoder, text_encoder: TextEncoder) -> ModelCard:
    card_file.read_preview(folder)
    card = card_file.read(folder)
    if card is not None:
        return card
    sampler = read_sampler(read_json(folder / "scheduler" / "scheduler_config.json")).name
    return card_file.plain_card(folder, unet, autoencoder, text_encoder, sampler=sampler)


def _tell_card(description: Description, card: ModelCard) -> None:
    description.facts.insert(
        0,
        (
            "model",
            f"{card.name} ({card.revision}), {card.parameters / 1e6:.1f} M parameters, licence {card.licence}",
        ),
    )
    description.add("tasks", ", ".join(card.tasks))
    description.add(
        "native size", f"{card.native_width} x {card.native_height} px, sides {card.min_side}..{card.max_side}"
    )
    description.add("samplers", f"{', '.join(card.samplers)}; {card.default_sampler} unless told otherwise")
    for kind, words in card.vocabulary.items():
        description.add(kind, ", ".join(words))


def _tell_network(
    description: Description, name: str, shape: str, network: nn.Module, folder: Path, stem: str, rename: Rename = str
) -> None:
    matched = description.attempt(name, lambda: match_weights(network, weight_files(folder, stem), rename))
    if matched is None:
        description.add(name, shape)
        return
    stored = ", ".join(sorted(matched.dtypes))
    files = len({path for path, _, _ in matched.places})
    size = f"{matched.size_bytes / 2**20:.1f} MiB in {files} file{'s' if files > 1 else ''}"
    description.add(name, f"{shape}; {stored}, {size}")


def _tell_schedules(description: Description, folder: Path) -> None:
    config = description.attempt("scheduler", lambda: read_json(folder / "scheduler" / "scheduler_config.json"))
    read = None if config is None else description.attempt("scheduler", lambda: read_schedule(config))
    if config is not None and read is not None:
        schedule, options = read
        spacing = "each sampler's own" if options.spacing is None else options.spacing
        description.add("schedule", f"T = {schedule.num_timesteps}, predicts {schedule.prediction}, spacing {spacing}")
        note = read_sampler(config).note
        if note is not None:
            description.add("note", note)
    low_res = description.attempt("low_res_scheduler", lambda: read_low_res(folder))
    if low_res is not None:
        description.add("low_res", f"T = {low_res.schedule.num_timesteps}, noise levels 0..{low_res.max_level}")


def _told_of_file(path: Path) -> str:
    if not path.exists():
        return f"{path} does not exist"
    if path.suffix in PICKLES:
        return f"{path} is a pickle, and loading a pickle runs whatever code it contains; convert it to safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            said = looks_like(list(file.keys()))
    except (SafetensorError, OSError) as error:
        return f"{path} is no model folder, and no safetensors file either: {error!s:.300}"
    return f"{path} is one file, not a diffusers folder" + (f". It looks like {said}" if said else "")
