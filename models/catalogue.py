"""Finding models: the bundled ones by name, others by folder."""

from __future__ import annotations

from pathlib import Path

import torch

from models.checkpoints.diffusers import load_folder
from models.checkpoints.survey import Survey, survey_folder
from models.errors import ModelError
from models.pipeline import Pipeline

BUNDLED = Path(__file__).parent / "bundled"


def bundled_models() -> list[str]:
    """The names of the models that ship with the library."""
    return sorted(find_models(BUNDLED))


def find_models(folder: Path) -> dict[str, Path]:
    """Every model folder directly inside a folder, by name. A folder that does not exist holds none."""
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/model_index.json"))}


def load_pipeline(
    model: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    upscaler: str | Path | None = None,
) -> Pipeline:
    """A pipeline from a bundled name or a diffusers folder; `upscaler` is a model for `TextToImage.upscale`.

    Raises: ModelError naming what there is, if there is no such model; CheckpointError if it cannot be loaded.
    """
    pipeline = load_folder(_find_folder(model), device=torch.device(device), dtype=dtype)
    if upscaler is not None:
        pipeline.upscaler = load_pipeline(upscaler, device=device, dtype=dtype)
        if pipeline.upscaler.low_res is None:
            raise ModelError(f"{upscaler} enlarges no pictures: give an upscaler")
    return pipeline


def survey_model(model: str | Path) -> Survey:
    """What a bundled model or a diffusers folder holds, without reading one weight.

    Raises: ModelError naming what there is, if there is no such model; CheckpointError if it cannot be loaded.
    """
    return survey_folder(_find_folder(model))


def find_model(model: str | Path) -> Path:
    """Where a bundled name or a path leads. Raises: ModelError naming what there is, if that is nowhere."""
    if isinstance(model, str) and model in bundled_models():
        return BUNDLED / model
    if not Path(model).exists():
        raise ModelError(f"no model {str(model)!r}: bundled are {bundled_models()}, or give a folder")
    return Path(model)


def _find_folder(model: str | Path) -> Path:
    folder = find_model(model)
    if not folder.is_dir():
        raise ModelError(f"{folder} is one file: give a diffusers folder")
    return folder
