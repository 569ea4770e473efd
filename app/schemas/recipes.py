"""A job's parameters as they are told: one kind a task."""

from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from app.jobs.spec import (
    DecodeParams,
    ImageToImageParams,
    InpaintParams,
    Params,
    PictureParams,
    SuperResolutionParams,
    TextToImageParams,
    VerifyParams,
)


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


RecipeOut = Annotated[
    TextToImageOut | ImageToImageOut | InpaintOut | SuperResolutionOut,
    Field(discriminator="task"),
]

ParamsOut = Annotated[
    TextToImageOut | ImageToImageOut | InpaintOut | SuperResolutionOut | VerifyOut | DecodeOut,
    Field(discriminator="task"),
]

_RECIPE_OUT: TypeAdapter[RecipeOut] = TypeAdapter(RecipeOut)
_PARAMS_OUT: TypeAdapter[ParamsOut] = TypeAdapter(ParamsOut)


def complete_recipe(params: PictureParams, model_revision: str) -> RecipeOut:
    """`params`, and the revision of the model that they were developed with."""
    return _RECIPE_OUT.validate_python({**params.model_dump(), "model_revision": model_revision})


def complete(params: Params, model_revision: str | None) -> ParamsOut:
    """`params`, and the revision of the model they were developed with."""
    return _PARAMS_OUT.validate_python({**params.model_dump(), "model_revision": model_revision})
