"""Recipes: what a picture says it was made from."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from app import intake
from app.errors import BadRequest, Invalid, TooLarge, Unavailable, UnsupportedMedia, documented
from app.routes.uploads import BODY, sent_file
from app.schemas import API, RecipeOut

PATH = f"{API}/recipes"

router = APIRouter(prefix=PATH, tags=["recipes"], responses=documented(Invalid, Unavailable))


@router.post(
    "",
    operation_id="readRecipe",
    openapi_extra=BODY,
    responses=documented(BadRequest, TooLarge, UnsupportedMedia),
)
async def read(data: Annotated[bytes, Depends(sent_file)]) -> RecipeOut:
    """The recipe in a PNG, JPEG or WebP: exact if Darkroom wrote it, what can be read of it if A1111 or its kin did.

    Nothing is kept, and nothing is checked: models and samplers are those of whoever made the picture.
    """
    return RecipeOut.of(await run_in_threadpool(intake.recipe, data))
