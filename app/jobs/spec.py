"""What a client may ask for, and the complete parameters it resolves to.

`TextToImage` is a client's words, with gaps; `resolve` fills the gaps from the catalogue and gives
`TextToImageParams`, which has none and is what the row keeps: a retry needs nothing else.
"""

import secrets
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError

TASKS = ("text_to_image", "image_to_image", "inpaint", "super_resolution")
"""Every task there is; a model's catalogue entry says which of them it offers."""

SEEDS = 2**32
"""Seeds are 0..SEEDS-1: what torch's CPU generator tells apart."""

MAX_PROMPT_CHARACTERS = 2000
MAX_SIDE = 16_384

Format = Literal["png", "webp", "jpeg"]


def _storable(text: str) -> str:
    # PostgreSQL stores no NUL, and UTF-8 has no lone surrogates.
    if "\0" in text:
        raise ValueError("must not contain NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain lone surrogates")
    return text


Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_storable)]
NegativePrompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=1, le=1000)]
GuidanceScale = Annotated[float, Field(ge=0, le=50)]
Eta = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
NumImages = Annotated[int, Field(ge=1, le=16)]
Quality = Annotated[int, Field(ge=1, le=100)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TextToImage(_Frozen):
    """A picture from words, as a client asks for it.  Sides are pixels; None means: the model's default."""

    task: Literal["text_to_image"]
    prompt: Prompt
    negative_prompt: NegativePrompt = ""
    model: Name | None = None
    width: Side | None = None
    height: Side | None = None
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    sampler: Name | None = None
    eta: Eta = 0.0
    seed: Seed | None = None
    num_images: NumImages = 1
    format: Format = "png"
    quality: Quality = 90
    metadata: bool = True

    @field_validator("eta")
    @classmethod
    def _only_ddim_has_eta(cls, eta: float, info: ValidationInfo) -> float:
        if eta != 0 and info.data.get("sampler") not in (None, "ddim"):
            raise ValueError("must be 0 unless sampler is ddim")
        return eta


class TextToImageParams(_Frozen):
    """A picture from words, complete: the same params under the same fingerprint are the same picture."""

    version: Literal[1] = 1
    task: Literal["text_to_image"]
    prompt: Prompt
    negative_prompt: NegativePrompt
    model: Name
    width: Side
    height: Side
    steps: Steps
    guidance_scale: GuidanceScale
    sampler: Name
    eta: Eta
    seed: Seed
    num_images: NumImages
    format: Format
    quality: Quality
    metadata: bool


def resolve(spec: TextToImage, entry: CatalogueEntry, seed: int) -> TextToImageParams:
    """Fill every gap of `spec` from the model's entry; `seed` is used where the spec names none.

    Raises: SpecError for what only the catalogue knows: tasks, sides, samplers, and eta by default sampler.
    """
    if spec.task not in entry.tasks:
        raise SpecError("model", entry.name, f"must be one that offers {spec.task}")
    params = TextToImageParams(
        task=spec.task,
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        model=entry.name,
        width=entry.native_width if spec.width is None else spec.width,
        height=entry.native_height if spec.height is None else spec.height,
        steps=entry.defaults.steps if spec.steps is None else spec.steps,
        guidance_scale=entry.defaults.guidance_scale if spec.guidance_scale is None else spec.guidance_scale,
        sampler=entry.defaults.sampler if spec.sampler is None else spec.sampler,
        eta=spec.eta,
        seed=seed if spec.seed is None else spec.seed,
        num_images=spec.num_images,
        format=spec.format,
        quality=spec.quality,
        metadata=spec.metadata,
    )
    _check_side("width", params.width, entry)
    _check_side("height", params.height, entry)
    if params.sampler not in entry.samplers:
        raise SpecError("sampler", params.sampler, f"must be one of {', '.join(entry.samplers)}")
    if params.eta != 0 and params.sampler != "ddim":
        raise SpecError("eta", params.eta, "must be 0 unless sampler is ddim")
    return params


def _check_side(field: str, side: int, entry: CatalogueEntry) -> None:
    if side % entry.multiple or not entry.min_side <= side <= entry.max_side:
        allowed = f"must be a multiple of {entry.multiple} from {entry.min_side} to {entry.max_side}"
        raise SpecError(field, side, allowed)


def cost(params: TextToImageParams) -> float:
    """How much work the job is: pixels x steps x images."""
    return float(params.width * params.height * params.steps * params.num_images)


def draw_seed() -> int:
    """A seed for a job whose client named none."""
    return secrets.randbelow(SEEDS)


def image_seed(seed: int, index: int) -> int:
    """The seed of a job's image `index`."""
    return (seed + index) % SEEDS
