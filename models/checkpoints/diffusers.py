"""A diffusers folder: one sub-folder a component, config.json and safetensors in each, model_index.json above.

model_index.json  darkroom.json (ours: what the model says about itself; other folders have none)
scheduler/ text_encoder/ tokenizer/ unet/ vae/  and, in upscalers, low_res_scheduler/
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

from models.card import ModelCard
from models.checkpoints import card_file
from models.checkpoints.diffusers_config import (
    read_autoencoder,
    read_schedule,
    read_text_encoder,
    read_unet,
    write_autoencoder,
    write_schedule,
    write_unet,
)
from models.checkpoints.weights import load_weights, read_json, weight_files
from models.errors import CheckpointError
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.pipeline import LowResNoise, Pipeline
from models.sampling import SAMPLERS

_UNET_STEM, _TEXT_STEM = "diffusion_pytorch_model", "model"
# How transformers wrote CLIP's text encoder before its version 5.
_OLD_TEXT_PREFIX, _OLD_TEXT_KEYS = "text_model.", frozenset({"embeddings.position_ids"})


def load_folder(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """A pipeline from a diffusers folder.

    Raises: CheckpointError saying which file, and what is wrong with it.
    """
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"{folder} is not a diffusers folder: it has no model_index.json")
    schedule, options = read_schedule(read_json(folder / "scheduler" / "scheduler_config.json"))
    unet = load_unet(folder / "unet", device=device, dtype=dtype)
    autoencoder = load_autoencoder(folder / "vae", device=device, dtype=dtype)
    text_encoder = load_text_encoder(folder / "text_encoder", folder / "tokenizer", device=device, dtype=dtype)
    card = card_file.read(folder) or plain_card(folder, unet, autoencoder, text_encoder)
    return Pipeline(
        unet=unet,
        autoencoder=autoencoder,
        text_encoder=text_encoder,
        schedule=schedule,
        sampler_options=options,
        card=card,
        latent_to_rgb=card_file.read_preview(folder),
        low_res=load_low_res(folder, unet),
    )


def load_unet(folder: Path, *, device: torch.device, dtype: torch.dtype) -> UNet:
    """The UNet of a component folder. Raises: CheckpointError."""
    config = read_unet(read_json(folder / "config.json"))
    with torch.device("meta"):
        unet = UNet(config)
    _allocate(unet, device, dtype)
    load_weights(unet, weight_files(folder, _UNET_STEM))
    return unet


def load_autoencoder(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """The autoencoder of a component folder. Raises: CheckpointError."""
    config = read_autoencoder(read_json(folder / "config.json"))
    with torch.device("meta"):
        autoencoder = Autoencoder(config)
    _allocate(autoencoder, device, dtype)
    load_weights(autoencoder, weight_files(folder, _UNET_STEM))
    return autoencoder


def load_text_encoder(folder: Path, tokenizer: Path, *, device: torch.device, dtype: torch.dtype) -> TextEncoder:
    """The text encoder of a component folder, with the tokenizer of another. Raises: CheckpointError."""
    config = read_text_encoder(read_json(folder / "config.json"))
    words = load_tokenizer(tokenizer)
    with torch.device("meta"):
        text_encoder = TextEncoder(config, words)
    _allocate(text_encoder, device, dtype)
    # the one buffer that files leave out
    positions = torch.arange(config.context_length, device=device)[None]
    text_encoder.transformer.embeddings.position_ids = positions
    load_weights(
        text_encoder.transformer, weight_files(folder, _TEXT_STEM), prefix=_OLD_TEXT_PREFIX, ignore=_OLD_TEXT_KEYS
    )
    return text_encoder


def load_low_res(folder: Path, unet: UNet) -> LowResNoise | None:
    """How an upscaler noises the picture it is given; None for other models. Raises: CheckpointError."""
    scheduler = folder / "low_res_scheduler" / "scheduler_config.json"
    if unet.config.num_class_embeds is None or not scheduler.is_file():
        return None
    schedule, _ = read_schedule(read_json(scheduler))
    most = min(schedule.num_timesteps, unet.config.num_class_embeds) - 1
    named = read_json(folder / "model_index.json").get("max_noise_level")
    return LowResNoise(schedule, min(most, named) if type(named) is int and named >= 0 else most)


def save_folder(pipeline: Pipeline, folder: Path, *, dtype: torch.dtype) -> None:
    """Writes a pipeline as a diffusers folder with a darkroom.json; diffusers itself can load it."""
    factor = pipeline.autoencoder.config.factor
    parts: dict[str, tuple[nn.Module, str, dict[str, Any]]] = {
        "unet": (
            pipeline.unet,
            _UNET_STEM,
            write_unet(pipeline.unet.config, pipeline.card.native_width // factor),
        ),
        "text_encoder": (
            pipeline.text_encoder.transformer,
            _TEXT_STEM,
            pipeline.text_encoder.transformer.config.to_diff_dict() | {"architectures": ["CLIPTextModel"]},
        ),
    }
    save_autoencoder(pipeline.autoencoder, folder / "vae", size=pipeline.card.native_width, dtype=dtype)
    for name, (network, stem, config) in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        _write_json(folder / name / "config.json", config)
        save_weights(network, folder / name, stem, dtype)
    (folder / "scheduler").mkdir(exist_ok=True)
    _write_json(
        folder / "scheduler" / "scheduler_config.json",
        write_schedule(pipeline.schedule, pipeline.sampler_options),
    )
    pipeline.text_encoder.tokenizer.save_pretrained(folder / "tokenizer")
    _write_json(
        folder / "model_index.json",
        {
            "_diffusers_version": "0.42.1",
            "_class_name": "StableDiffusionInpaintPipeline"
            if pipeline.unet.config.in_channels == 9
            else "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    card_file.write(folder, pipeline.card, pipeline.latent_to_rgb, revision=revision_of(folder))


def save_autoencoder(autoencoder: Autoencoder, folder: Path, *, size: int, dtype: torch.dtype) -> None:
    """Writes the component folder of an autoencoder trained on pictures of size x size pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", write_autoencoder(autoencoder.config, size))
    save_weights(autoencoder, folder, _UNET_STEM, dtype)


def save_weights(
    network: nn.Module, folder: Path, stem: str, dtype: torch.dtype, *, shard_bytes: int = 15 << 20
) -> None:
    """A network's weights in `dtype`, in shards of at most shard_bytes where one file would be larger."""
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    for old in folder.glob(f"{stem}*.safetensors*"):
        old.unlink()
    if len(shards) == 1:
        save_file(shards[0], folder / f"{stem}.safetensors", {"format": "pt"})
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    _write_json(
        folder / f"{stem}.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from tokenizer.json, or from vocab.json and merges.txt: read as data, never fetched.

    Raises: CheckpointError.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise CheckpointError(f"{folder} holds neither tokenizer.json nor vocab.json")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever the library raises over a file it cannot read
        raise CheckpointError(f"{folder} is not a CLIP tokenizer: {error}") from error
    return tokenizer


def plain_card(folder: Path, unet: UNet, autoencoder: Autoencoder, text_encoder: TextEncoder) -> ModelCard:
    """What can be told of a folder that says nothing about itself."""
    factor = autoencoder.config.factor
    native = read_json(folder / "unet" / "config.json").get("sample_size")
    side = (native if isinstance(native, int) else 64) * factor
    upscales = unet.config.num_class_embeds is not None
    return ModelCard(
        name=folder.name,
        revision=revision_of(folder),
        tasks=("super_resolution",) if upscales else ("text_to_image", "image_to_image", "inpaint"),
        native_width=side,
        native_height=side,
        min_side=factor * 8,
        max_side=2 * side,
        multiple=factor,
        samplers=tuple(SAMPLERS),
        default_steps=25,
        default_guidance_scale=7.5,
        default_sampler="ddim",
        parameters=sum(part.numel() for net in (unet, autoencoder, text_encoder) for part in net.parameters()),
    )


def revision_of(folder: Path) -> str:
    """Twelve hexadecimal digits that change with any config or weight of the folder (by its header and size)."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
        if path.name == card_file.NAME:
            continue
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(64 << 20))
    return digest.hexdigest()[:12]


def _allocate(network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Turns a network on the meta device into one with room for its weights; they are read straight into it."""
    network.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
