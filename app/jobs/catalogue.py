"""What a worker says about a model it serves: all that the front door knows of models."""

from pydantic import BaseModel, ConfigDict, Field


class ModelDefaults(BaseModel):
    """What a model uses where a client says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0, le=50)
    sampler: str


class CatalogueEntry(BaseModel):
    """One model as the worker that loaded it describes it.  Sides are pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200)
    revision: str
    tasks: list[str]
    native_width: int = Field(ge=1)
    native_height: int = Field(ge=1)
    min_side: int = Field(ge=1)
    max_side: int = Field(ge=1)
    multiple: int = Field(ge=1)
    samplers: list[str]
    defaults: ModelDefaults
    parameters: int = Field(ge=0)
    licence: str
    scale: int | None = Field(None, ge=2, description="how many times larger it makes a picture; null if it does not")
    vocabulary: dict[str, list[str]] | None = None
    examples: list[str] = []
    fingerprint: str
