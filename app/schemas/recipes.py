"""A job's parameters as they are told: one kind a task; and the recipe that a file tells."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, Field, TypeAdapter

from app.jobs.spec import (
    DecodeParams,
    ImageToImageParams,
    InpaintParams,
    Params,
    PictureParams,
    SuperResolutionParams,
    TextToImageParams,
    Upscaler,
    VerifyParams,
)
from app.schemas.answer import Answer

if TYPE_CHECKING:
    from app.jobs.recipe import Recipe


class _Developed(BaseModel):
    """What a recipe says once a worker has taken the job."""

    model_revision: str | None = Field(description="null until a worker has taken the job")


class TextToImageOut(TextToImageParams, _Developed):
    """The complete recipe: what was asked, with every default resolved."""


class ImageToImageOut(ImageToImageParams, _Developed):
    """The complete recipe; the picture it begins with is named by its sha256."""


class InpaintOut(InpaintParams, _Developed):
    """The complete recipe; picture and mask are named by their sha256."""


class SuperResolutionOut(SuperResolutionParams, _Developed):
    """The complete recipe; the picture that is made larger is named by its sha256."""


class VerifyOut(VerifyParams, _Developed):
    """Which image is developed again, by its recipe."""


class DecodeOut(DecodeParams, _Developed):
    """Which step of which image is decoded."""


PictureParamsOut = Annotated[
    TextToImageOut | ImageToImageOut | InpaintOut | SuperResolutionOut,
    Field(discriminator="task"),
]

ParamsOut = Annotated[
    TextToImageOut | ImageToImageOut | InpaintOut | SuperResolutionOut | VerifyOut | DecodeOut,
    Field(discriminator="task"),
]

_PICTURE_OUT: TypeAdapter[PictureParamsOut] = TypeAdapter(PictureParamsOut)
_PARAMS_OUT: TypeAdapter[ParamsOut] = TypeAdapter(ParamsOut)


def complete_picture(params: PictureParams, model_revision: str) -> PictureParamsOut:
    """`params`, and the revision of the model that they were developed with."""
    return _PICTURE_OUT.validate_python({**params.model_dump(), "model_revision": model_revision})


def complete(params: Params, model_revision: str | None) -> ParamsOut:
    """`params`, and the revision of the model they were developed with."""
    return _PARAMS_OUT.validate_python({**params.model_dump(), "model_revision": model_revision})


class RecipeOut(Answer):
    """What a picture says it was made from; null is "not said".  Pictures it was made from are named by a digest."""

    task: str
    prompt: str
    negative_prompt: str
    prompt_syntax: str | None
    model: str | None
    revision: str | None
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    guidance_interval: tuple[float, float] | None
    sampler: str | None
    eta: float | None
    seed: int | None
    image: str | None
    mask: str | None
    mask_mode: str | None
    feather: int | None
    strength: float | None
    fit: str | None
    scale: int | None
    consistent: bool | None
    upscale: int | None
    upscaler: Upscaler | None
    reproducible: bool | None
    infotext: str = Field(description="the same, as A1111-style tools write it")

    @classmethod
    def of(cls, recipe: "Recipe") -> Self:
        """The recipe."""
        from app.jobs.recipe import infotext

        return cls(**recipe.model_dump(include={*cls.model_fields}), infotext=infotext(recipe))
