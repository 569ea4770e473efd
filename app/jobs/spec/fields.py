"""What a field may hold, and the fields that every task has: as a client may say them, and complete."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SEEDS = 2**32
"""Seeds are 0..SEEDS-1: what torch's CPU generator tells apart."""

MAX_PROMPT_CHARACTERS = 2000
MAX_SIDE = 16_384

Format = Literal["png", "webp", "jpeg"]
Priority = Literal["normal", "low"]
PromptSyntax = Literal["plain", "weighted"]


def _storable(text: str) -> str:
    # PostgreSQL stores no NUL, and UTF-8 has no lone surrogates.
    if "\0" in text:
        raise ValueError("must not contain NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain lone surrogates")
    return text


def _forwards(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("must be [from, to] with from <= to")
    return interval


Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_storable)]
AnyPrompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=1, le=1000)]
GuidanceScale = Annotated[float, Field(ge=0, le=50)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
# Not strict: JSON has no tuples.
GuidanceInterval = Annotated[tuple[Share, Share], Field(strict=False), AfterValidator(_forwards)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
NumImages = Annotated[int, Field(ge=1, le=16)]
Quality = Annotated[int, Field(ge=1, le=100)]
Strength = Annotated[float, Field(gt=0, le=1)]


class Frozen(BaseModel):
    """A body that never changes, and has no field nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CommonWish(Frozen):
    """What a client may say whatever the task.  None means: the model's default."""

    task: str
    prompt: Prompt
    negative_prompt: AnyPrompt = ""
    prompt_syntax: PromptSyntax = "plain"
    model: Name | None = None
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    guidance_interval: GuidanceInterval = (0.0, 1.0)
    sampler: Name | None = None
    eta: Share = 0.0
    seed: Seed | None = None
    num_images: NumImages = 1
    format: Format = "png"
    quality: Quality = 90
    metadata: bool = True
    priority: Priority = "normal"
    reproducible: bool = False
    save_trajectory: bool = False

    @field_validator("eta")
    @classmethod
    def _only_ddim_has_eta(cls, eta: float, info: ValidationInfo) -> float:
        if eta != 0 and info.data.get("sampler") not in (None, "ddim"):
            raise ValueError("must be 0 unless sampler is ddim")
        return eta

    @property
    def references(self) -> dict[str, str]:
        """The pictures it names, by their roles: the fields that name them."""
        return {}


class CommonParams(Frozen):
    """What every task's parameters have; the same ones under the same fingerprint are the same picture."""

    version: Literal[3] = 3
    task: str
    prompt: AnyPrompt
    negative_prompt: AnyPrompt
    prompt_syntax: PromptSyntax
    model: Name
    width: Side
    height: Side
    steps: Steps
    guidance_scale: GuidanceScale
    guidance_interval: GuidanceInterval
    sampler: Name
    eta: Share
    seed: Seed
    num_images: NumImages
    format: Format
    quality: Quality
    metadata: bool
    priority: Priority
    reproducible: bool
    save_trajectory: bool

    @property
    def inputs(self) -> dict[str, str]:
        """The sha256 of every picture it is made from, by its role."""
        return {}

    @property
    def stored(self) -> dict[str, str]:
        """The sha256 of every file of another job that it needs, by its role."""
        return {}

    @property
    def title(self) -> str:
        """What to call it: its words, or without any, its task."""
        return self.prompt or self.task.replace("_", " ")

    @property
    def steps_run(self) -> int:
        """The denoising steps that an image takes."""
        return self.steps

    @property
    def pixels(self) -> int:
        """How many pixels of an image pass through the model."""
        return self.width * self.height

    @property
    def work(self) -> int:
        """What an image costs: pixels x steps."""
        return self.pixels * self.steps_run

    @property
    def second_model(self) -> str | None:
        """The other model that an image passes through, if there is one."""
        return None

    @property
    def fingerprint(self) -> str | None:
        """Which workers may take the job; None: any that serve its models."""
        return None

    @property
    def subject(self) -> str | None:
        """What an internal job is about; of a client's own there is none."""
        return None


def steps_of_strength(steps: int, strength: float) -> int:
    """How many of `steps` run where a picture is noised only by `strength`."""
    return max(1, int(steps * strength))
