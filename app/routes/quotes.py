"""Quotes: when a job would start and finish, and what it would cost, before anybody asks for it."""

from fastapi import APIRouter, Depends

from app import desk
from app.deps import Inside, Owner, json_only
from app.errors import (
    BadRequest,
    Invalid,
    NoModels,
    TooCostly,
    TooLarge,
    TooOften,
    Unavailable,
    UnsupportedMedia,
    documented,
)
from app.routes.jobs import Wished
from app.schemas import API, QuoteOut

PATH = f"{API}/quotes"

router = APIRouter(prefix=PATH, tags=["jobs"], responses=documented(Invalid, Unavailable))


@router.post(
    "",
    operation_id="quoteJob",
    dependencies=[Depends(json_only)],
    responses=documented(BadRequest, TooLarge, UnsupportedMedia, NoModels, TooCostly, TooOften),
)
def quote(wish: Wished, house: Inside, owner: Owner) -> QuoteOut:
    """What this very body would come to as a job of yours.  Nothing is queued, and no seed is drawn."""
    return QuoteOut.of(*desk.quote(house, wish, owner))
