"""darkroom.json: what a model folder says about itself beyond its weights; and what can be told of one without it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

import torch

from models.card import ModelCard
from models.checkpoints.json_fields import read_json
from models.errors import CheckpointError
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.preview import LatentToRgb
from models.sampling import SAMPLERS

NAME = "darkroom.json"
PAINTING = ("text_to_image", "image_to_image", "inpaint")
_REVISION_CHUNKS = 16


def read(folder: Path) -> ModelCard | None:
    """The card in a folder's darkroom.json, or None where there is no such file.

    Raises: CheckpointError naming the entry that is missing, unknown or of the wrong type.
    """
    if not (folder / NAME).is_file():
        return None
    given = dict(read_json(folder / NAME))
    given.pop("preview", None)
    types = get_type_hints(ModelCard)
    known = {field.name for field in fields(ModelCard)}
    if set(given) != known:
        strangers, missing = sorted(set(given) - known), sorted(known - set(given))
        raise CheckpointError(f"{folder / NAME}: unknown entries {strangers}, missing entries {missing}")
    return ModelCard(**{name: _typed(folder, name, value, types[name]) for name, value in given.items()})


def read_preview(folder: Path) -> LatentToRgb | None:
    """The latent-to-RGB map in a folder's darkroom.json, or None. Raises: CheckpointError."""
    if not (folder / NAME).is_file():
        return None
    given = read_json(folder / NAME).get("preview")
    if given is None:
        return None
    try:
        weight = torch.tensor(given["weight"], dtype=torch.float32)  # type: ignore[index]
        bias = torch.tensor(given["bias"], dtype=torch.float32)  # type: ignore[index]
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(f"{folder / NAME}: preview must hold weight (3, c) and bias (3,)") from error
    if weight.ndim != 2 or weight.shape[0] != 3 or bias.shape != (3,):
        raise CheckpointError(f"{folder / NAME}: preview must hold weight (3, c) and bias (3,)")
    return LatentToRgb(weight, bias)


def write(folder: Path, card: ModelCard, preview: LatentToRgb | None, *, revision: str) -> None:
    """Writes the card, with the revision of the weights beside it."""
    given: dict[str, Any] = asdict(replace(card, revision=revision, vocabulary={})) | {
        "vocabulary": dict(card.vocabulary)
    }
    if preview is not None:
        given["preview"] = {"weight": _rounded(preview.weight), "bias": _rounded(preview.bias)}
    (folder / NAME).write_text(json.dumps(given, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plain_card(
    folder: Path, unet: UNet, autoencoder: Autoencoder, text_encoder: TextEncoder, *, sampler: str
) -> ModelCard:
    """What can be told of a folder that says nothing about itself; the networks may be on the meta device."""
    factor, latent = autoencoder.config.factor, autoencoder.config.latent_channels
    native = read_json(folder / "unet" / "config.json").get("sample_size")
    side = (native if type(native) is int and 1 <= native <= 1024 else 64) * factor
    return ModelCard(
        name=folder.name,
        revision=revision_of(folder),
        # a picture beside the latents: it makes that one larger, and paints none from text alone
        tasks=("super_resolution",) if unet.config.in_channels == latent + 3 else PAINTING,
        native_width=side,
        native_height=side,
        min_side=factor * 8,
        max_side=2 * side,
        multiple=factor,
        samplers=tuple(SAMPLERS),
        default_steps=25,
        default_guidance_scale=7.5,
        default_sampler=sampler,
        parameters=sum(part.numel() for net in (unet, autoencoder, text_encoder) for part in net.parameters()),
    )


def revision_of(folder: Path) -> str:
    """Twelve hexadecimal digits that change with any config or weight of the folder, as far as its size and its first
    16 MiB tell: all of a bundled model, the header and the first layers of a large one."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
        if path.name == NAME:
            continue
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            for _ in range(_REVISION_CHUNKS):
                digest.update(file.read(1 << 20))
    return digest.hexdigest()[:12]


def _typed(folder: Path, name: str, value: Any, kind: Any) -> Any:
    if name == "vocabulary" and isinstance(value, dict):
        return MappingProxyType({key: _words(folder, name, words) for key, words in value.items()})
    if name in ("tasks", "samplers", "examples"):
        return _words(folder, name, value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise CheckpointError(f"{folder / NAME}: {name} must be {kind}, got {value!r:.80}")
    return value


def _words(folder: Path, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise CheckpointError(f"{folder / NAME}: {name} must list strings, got {value!r:.80}")
    return tuple(value)


def _rounded(tensor: torch.Tensor) -> Any:
    return (
        [[round(one, 6) for one in row] for row in tensor.tolist()]
        if tensor.ndim == 2
        else [round(one, 6) for one in tensor.tolist()]
    )
