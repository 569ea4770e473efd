"""Pictures as they are told: what jobs made, and what they are made from."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from app.jobs.store import Image, Upload
from app.schemas.answer import API, Answer
from app.schemas.recipes import PictureParamsOut, complete_picture


class ImageOut(Answer):
    """One picture of a job."""

    id: str
    index: int
    seed: int
    width: int
    height: int
    sha256: str
    bytes: int
    url: str
    thumbnail_url: str

    @classmethod
    def of(cls, image: Image, **more: Any) -> Self:
        """The picture, with what a subclass says `more`."""
        return cls(
            id=image.id,
            index=image.index,
            seed=image.seed,
            width=image.width,
            height=image.height,
            sha256=image.sha256,
            bytes=image.size_bytes,
            url=f"{API}/images/{image.id}/content",
            thumbnail_url=f"{API}/images/{image.id}/thumbnail/256",
            **more,
        )


class ImageDetailOut(ImageOut):
    """One picture, with all that is known about how it was made."""

    job_id: str
    format: str
    params: PictureParamsOut
    fingerprint: str = Field(description="device and build; under the same one the same recipe is the same picture")
    created_at: datetime
    favourite: bool
    rating: int = Field(description="0 to 5 stars; 0 is not rated")
    tags: list[str]
    deleted_at: datetime | None = Field(description="null unless it was deleted and can be restored")

    @classmethod
    def of(cls, image: Image, **more: Any) -> Self:
        """The picture as it stands for itself."""
        return super().of(
            image,
            job_id=image.job_id,
            format=image.format,
            params=complete_picture(image.params, image.model_revision),
            fingerprint=image.fingerprint,
            created_at=image.created_at,
            favourite=image.favourite,
            rating=image.rating,
            tags=list(image.tags),
            deleted_at=image.deleted_at,
            **more,
        )


class ImagesOut(Answer):
    """Some pictures, newest first."""

    items: list[ImageDetailOut]
    next_cursor: str | None = Field(description="null on the last page; Link rel=next says the same")


class UploadOut(Answer):
    """A picture that jobs may name as `upload:<id>` until it expires."""

    id: str
    width: int
    height: int
    sha256: str = Field(description="of the picture as it is kept: PNG without metadata")
    bytes: int
    expires_at: datetime

    @classmethod
    def of(cls, upload: Upload) -> Self:
        """The upload."""
        given = upload.blob.given
        return cls(
            id=upload.id,
            width=given.width,
            height=given.height,
            sha256=given.sha256,
            bytes=upload.blob.size_bytes,
            expires_at=upload.expires_at,
        )
