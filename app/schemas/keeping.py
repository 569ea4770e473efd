"""What owners say of their pictures, and what they ask to be done with many."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from app.jobs.search import MAX_RATING, MAX_TAG_CHARACTERS, MAX_TAGS, tag_of
from app.jobs.spec.fields import Frozen
from app.schemas.answer import Answer

MAX_IDS = 500

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Ids = Annotated[list[ImageId], Field(min_length=1, max_length=MAX_IDS)]
# What is longer than this is none, however it is shortened.
Tag = Annotated[str, Field(min_length=1, max_length=4 * MAX_TAG_CHARACTERS), AfterValidator(tag_of)]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]


class OpinionIn(Frozen):
    """What an owner says of a picture.  What is left out, or null, stays as it is."""

    favourite: bool | None = None
    rating: Annotated[int, Field(ge=0, le=MAX_RATING)] | None = Field(None, description="stars; 0 is not rated")
    tags: Tags | None = Field(None, description="all its tags; kept in small letters")


class DeleteIn(Frozen):
    """Delete these pictures; they can be restored for a week."""

    action: Literal["delete"]
    ids: Ids


class RestoreIn(Frozen):
    """Take the deletion of these pictures back."""

    action: Literal["restore"]
    ids: Ids


class TagIn(Frozen):
    """Take tags off these pictures and put others on, beside those they have."""

    action: Literal["tag"]
    ids: Ids
    add: Tags = Field([])
    remove: Tags = Field([])


BulkIn = DeleteIn | RestoreIn | TagIn


class ZipIn(Frozen):
    """Pictures for one file."""

    ids: Ids


class BulkOut(Answer):
    """What was done, by ids in the order they were named."""

    done: list[str]
    not_found: list[str]
