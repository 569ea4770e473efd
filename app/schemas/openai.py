"""What clients of the OpenAI Images API send and get, as that API names it.  Fields nobody knows are ignored."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.jobs.spec.fields import AnyPrompt, Format, GuidanceScale, NumImages, Prompt, Seed, Steps, Strength
from app.schemas.answer import Answer

MAX_SIDE = 4096

_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


def _possible(size: str) -> str:
    if size != "auto" and sides_of(size) is None:
        raise ValueError(f"must be auto, or WIDTHxHEIGHT with sides from 1 to {MAX_SIDE}")
    return size


def sides_of(size: str | None) -> tuple[int, int] | None:
    """Width and height; None where the service is to choose."""
    match = _SIZE.fullmatch(size or "")
    if match is None:
        return None
    sides = int(match[1]), int(match[2])
    return sides if all(1 <= side <= MAX_SIDE for side in sides) else None


class GenerationIn(BaseModel):
    """A picture from words."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"prompt": "a fox in the snow", "size": "512x512", "n": 2}]},
    )

    prompt: Prompt
    model: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="unknown names mean the default model"
    )
    n: NumImages | None = None
    size: Annotated[str, AfterValidator(_possible)] | None = Field(
        None, description="`auto` or WIDTHxHEIGHT", examples=["1024x1024"]
    )
    response_format: Literal["b64_json", "url"] | None = Field(None, description="b64_json where nothing is said")
    output_format: Format | None = Field(None, description="png where nothing is said")
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="the quality of webp, jpeg"
    )
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    negative_prompt: AnyPrompt | None = Field(None, description="not of OpenAI's API")
    seed: Seed | None = Field(None, description="not of OpenAI's API")
    steps: Steps | None = Field(None, description="not of OpenAI's API")
    guidance_scale: GuidanceScale | None = Field(None, description="not of OpenAI's API")


class EditIn(GenerationIn):
    """A picture from a picture and words; the pictures themselves are parts of the form."""

    strength: Strength | None = Field(None, description="not of OpenAI's API: how far the picture is changed")


class PictureOut(Answer):
    """One picture: its file in base64, or where it lies."""

    b64_json: str | None = None
    url: str | None = None


class UsageDetailsOut(Answer):
    """Nothing is counted in tokens here."""

    image_tokens: int = 0
    text_tokens: int = 0


class UsageOut(Answer):
    """Nothing is counted in tokens here."""

    input_tokens: int = 0
    input_tokens_details: UsageDetailsOut = UsageDetailsOut()
    output_tokens: int = 0
    total_tokens: int = 0


class PicturesOut(Answer):
    """What was made of a request."""

    created: int
    data: list[PictureOut]
    background: Literal["opaque"] = "opaque"
    output_format: Format
    size: str
    usage: UsageOut = UsageOut()
    warnings: list[str] = Field([], description="what the client might not expect; not of OpenAI's API")


class StreamedOut(Answer):
    """One event of a stream: how a picture looks by now, or the picture."""

    type: str
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Format
    quality: Literal["auto"] = "auto"
    size: str
    partial_image_index: int | None = None
    usage: UsageOut | None = None


class OfferedOut(Answer):
    """A model that may be named."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "darkroom"


class OffersOut(Answer):
    """Every model that may be named."""

    object: Literal["list"] = "list"
    data: list[OfferedOut]


class OpenAIErrorBodyOut(Answer):
    """What went wrong."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(examples=["prompt"])
    code: str | None = Field(examples=["invalid_value"])


class OpenAIErrorOut(Answer):
    """An error as OpenAI writes it."""

    error: OpenAIErrorBodyOut
