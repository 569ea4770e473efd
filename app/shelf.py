"""The folder from which workers load models.  Here only files are looked at: whether a model can be loaded, only a
worker knows, or `darkroom-models inspect`."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from app.jobs.failures import JobsError
from app.jobs.settings import Settings

INDEX = "model_index.json"

# Not directly in the folder, where a worker that starts just then would find half a model.
_STAGING = ".adding"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# What diffusers lists and latent diffusion does without.
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_WITH_WEIGHTS = ("unet", "vae")


class CannotAdd(JobsError):
    """The model is not added; the text says why, for people."""


def names(settings: Settings) -> list[str]:
    """The model folders there are; none where no folder is set."""
    folder = settings.models_dir
    return [] if folder is None else sorted(path.parent.name for path in folder.glob(f"*/{INDEX}"))


def add(settings: Settings, model: str, name: str | None = None, *, link: bool = False) -> Path:
    """Copy a model folder, or point to it; it is there whole or not at all.  Returns where.  Raises: CannotAdd."""
    if settings.models_dir is None:
        raise CannotAdd("DARKROOM_MODELS_DIR must name the folder from which workers load models")
    source, own_name = _find(model)
    check(source)
    name = name or own_name
    if not _NAME.fullmatch(name):
        raise CannotAdd(f"a model's folder needs a plain name (--name), got {name!r}")
    target = settings.models_dir / name
    if target.exists() or target.is_symlink():
        raise CannotAdd(f"{target} is there already; remove it, or say another --name")
    staged = settings.models_dir / _STAGING / name
    shutil.rmtree(staged.parent, ignore_errors=True)
    try:
        staged.parent.mkdir(parents=True)
        if link:
            staged.symlink_to(source)
        else:
            shutil.copytree(source, staged)
        staged.rename(target)
    except OSError as error:
        raise CannotAdd(f"{target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(staged.parent, ignore_errors=True)
    return target


def check(folder: Path) -> None:
    """Return if this looks like a latent diffusion model in the diffusers layout.  Raises: CannotAdd."""
    parts = [name for name, value in _index(folder).items() if _is_a_part(value) and name not in _OPTIONAL]
    for needed in _WITH_WEIGHTS:
        if needed not in parts:
            raise CannotAdd(f"{folder} is no latent diffusion model: its {INDEX} names no {needed}")
    for part in parts:
        if not (folder / part).is_dir():
            raise CannotAdd(f"{folder} is not whole: {part} is missing")
    for part in _WITH_WEIGHTS:
        if not any((folder / part).glob("*.safetensors")):
            raise CannotAdd(f"{folder} is not whole: {part} has no *.safetensors")


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise CannotAdd(f"{folder} is no diffusers folder: its {INDEX} cannot be read ({error})") from None
    if not isinstance(index, dict):
        raise CannotAdd(f"{folder} is no diffusers folder: its {INDEX} is no object")
    return index


def _is_a_part(value: Any) -> bool:
    """Parts are [library, class]; one that is left out is [null, null]."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(word, str) for word in value)


def _find(model: str) -> tuple[Path, str]:
    """The folder that is meant, and the model's own name.  Nothing is downloaded.  Raises: CannotAdd."""
    folder = Path(model).expanduser().absolute()
    if folder.is_dir():
        return folder, folder.resolve().name
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    cached = Path(home).expanduser() / "hub" / f"models--{model.replace('/', '--')}"
    head = cached / "refs" / "main"
    if _NAME.fullmatch(model.replace("/", "--")) and head.is_file():
        return cached / "snapshots" / head.read_text().strip(), model.rpartition("/")[2]
    raise CannotAdd(f"there is no folder {folder}, and no model {model!r} in {cached.parent}")
