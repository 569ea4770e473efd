"""What a training run is: frozen dataclasses, read from a TOML file that is checked key by key."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from models.config import PRESETS
from models.training.stages import STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What both stages need. Every random number of a step follows from `seed` and the step's number."""

    preset: str
    num_steps: int
    batch_size: int
    learning_rate: float
    scenes: str = ""  # a stage of the curriculum: which scenes are drawn
    images: str = ""  # or a folder of captioned pictures; read_config takes it from where the config lies
    seed: int = 0
    warmup_steps: int = 200
    weight_decay: float = 0.01
    adam_beta2: float = 0.99
    clip_norm: float = 1.0
    ema_decay: float = 0.9985
    bfloat16: bool = True  # autocast of the networks; weights, losses and moments stay float32
    checkpoint_every: int = 250
    grid_every: int = 500
    native_size: int = 0  # the side of whole pictures in pixels; 0: the preset's
    crop_size: int = 0  # 0: whole pictures; else squares of this side out of larger ones
    texture_share: float = 0.0  # of the squares: pictures that are no scenes

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {sorted(PRESETS)}, got {self.preset!r}")
        if bool(self.scenes) == bool(self.images):
            raise ValueError(f"one of scenes and images must be given, got {self.scenes!r} and {self.images!r}")
        if self.scenes and self.scenes not in STAGES:
            raise ValueError(f"scenes must be one of {sorted(STAGES)}, got {self.scenes!r}")
        for name in ("num_steps", "batch_size", "checkpoint_every", "grid_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        for name in ("native_size", "crop_size"):
            if getattr(self, name) < 0 or getattr(self, name) % 16:
                raise ValueError(f"{name} must be 0 or a multiple of 16, got {getattr(self, name)}")
        if not 0.0 <= self.texture_share <= 1.0:
            raise ValueError(f"texture_share must be in [0, 1], got {self.texture_share}")
        if self.texture_share and not (self.crop_size and self.scenes):
            raise ValueError(f"texture_share needs crop_size and scenes, got {self.texture_share} without them")

    @property
    def size(self) -> int:
        """The side of the pictures that are learned from, in pixels."""
        return self.crop_size or self.native_size or PRESETS[self.preset].native_size


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderTraining(TrainingConfig):
    """Stage 1: pixels to latents and back (Rombach et al. 2022, appendix G, without its adversary)."""

    gradient_weight: float = 1.0
    kl_weight: float = 1e-5
    linear_start: bool = False  # begin as principal components instead of at random (linear_start.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTraining(TrainingConfig):
    """A UNet and its text encoder, jointly, on the latents of stage 1: what every such run needs."""

    caption_dropout: float = 0.12
    pool_size: int = 0  # pictures encoded once and drawn from again and again; 0: every step has new ones
    snr_ceiling: float = 5.0
    corpus_size: int = 20_000  # captions that the tokenizer learns from
    max_merges: int = 400
    grid_guidance_scale: float = 4.0
    grid_steps: int = 25

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        _check_share("caption_dropout", self.caption_dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionTraining(LatentTraining):
    """Stage 2: text_to_image and inpaint in one UNet."""

    full_mask_share: float = 0.75  # of the rows: text_to_image; the others are inpaint
    box_weight: float = 2.0  # how much more a latent cell inside an object's box counts

    def __post_init__(self) -> None:
        LatentTraining.__post_init__(self)
        _check_share("full_mask_share", self.full_mask_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperResolutionTraining(LatentTraining):
    """An upscaler: latents of a picture, given the picture at a quarter of its side."""

    max_noise_level: int = 350  # the small picture is noised by 0 .. this, mostly a little
    grid_guidance_scale: float = 1.0
    grid_steps: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEndTraining(TrainingConfig):
    """UNet and decoder of an upscaler together, by the pixels that come of them."""

    l1_weight: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierTraining(TrainingConfig):
    """The judge of distributions: a classifier of scenes of one thing."""

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if self.images or set(STAGES[self.scenes].layouts) != {"single"}:
            raise ValueError(f"scenes must be a stage of single things, got {self.scenes or self.images!r}")


def _check_share(name: str, share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {share}")


Config = TypeVar("Config", bound=TrainingConfig)


def read_config(path: Path, kind: type[Config]) -> Config:
    """The config in a TOML file.

    Raises: ValueError naming every key that is unknown, missing or of another type than it should be.
    """
    given = tomllib.loads(path.read_text(encoding="utf-8"))
    problems = _problems(given, kind)
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems))
    if given.get("images"):
        given["images"] = str(path.parent / given["images"])
    return kind(**given)


def _problems(given: dict[str, Any], kind: type[Config]) -> list[str]:
    types = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    problems = [f"unknown key {name!r}, known are {sorted(known)}" for name in given if name not in known]
    problems += [
        f"missing key {name!r}" for name, field in known.items() if field.default is MISSING and name not in given
    ]
    for name in known.keys() & given.keys():
        wanted, value = types[name], given[name]
        fits = (
            isinstance(value, (int, float)) and not isinstance(value, bool)
            if wanted is float
            else type(value) is wanted
        )
        if not fits:
            problems.append(f"{name} must be {wanted.__name__}, got {value!r}")
    return problems
