"""What a job makes of what was developed for it: files in the storage, and the last word about the attempt.

    Pictures   files with their recipe, thumbnails, and the steps if they are kept
    Verdict    whether an image came out the same again
    Estimate   the picture of one step

All of it happens on the publisher's thread.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from app.jobs import recipe
from app.jobs.recipe import Recipe
from app.jobs.spec import PICTURE, DecodeParams, PictureParams, VerifyParams
from app.jobs.storage import image_key, thumbnail_key
from app.jobs.store import Answered, Claim, Outcome, PublishedImage, Succeeded
from worker.trajectories import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL_SIDE = 256

Timings = Mapping[str, float]
Put = Callable[[str, bytes], None]
Get = Callable[[str], bytes]


class InputLost(Exception):
    """A file that the job needs is gone, or is not what it was."""


class Product(Protocol):
    """What becomes of one attempt's images. Both methods that touch files raise StorageError."""

    def keep(self, index: int, step: int, x0: Any) -> None:
        """Keep the estimate x0 (c, h, w) of image `index` after `step`."""

    def add(self, index: int, seed: int, pixels: NDArray[np.uint8]) -> None:
        """Image `index` is done. Raises: InputLost."""

    def outcome(self, timings: Timings) -> Outcome:
        """The last word, when every image was added."""


def product_of(claim: Claim, revision: str, fingerprint: str, put: Put, get: Get) -> Product:
    """What this job makes, with models of this revision on a worker of this fingerprint."""
    match claim.params:
        case VerifyParams():
            return Verdict(claim, claim.params, revision, fingerprint, get)
        case DecodeParams():
            return Estimate(claim, claim.params, revision, put)
        case _:
            return Pictures(claim, claim.params, revision, fingerprint, put)


class Pictures:
    """Files with their recipe and a thumbnail, and with their steps where they are to be kept."""

    def __init__(self, claim: Claim, params: PictureParams, revision: str, fingerprint: str, put: Put) -> None:
        self._claim = claim
        self._params = params
        self._revision = revision
        self._fingerprint = fingerprint
        self._put = put
        self._images: list[PublishedImage] = []
        self._trajectories: dict[int, Trajectory] = {}

    def keep(self, index: int, step: int, x0: Any) -> None:
        """Keep the estimate for the file of the image's steps."""
        if index not in self._trajectories:
            self._trajectories[index] = Trajectory(self._claim, index, self._put)
        self._trajectories[index].add(step, x0)

    def add(self, index: int, seed: int, pixels: NDArray[np.uint8]) -> None:
        """Write the image, its thumbnail and its steps."""
        claim, params = self._claim, self._params
        data = encode(pixels, params, Recipe.of(params, index, self._revision) if params.metadata else None)
        key = image_key(claim.job_id, claim.attempt, index, params.format)
        small_key = thumbnail_key(claim.job_id, claim.attempt, index, THUMBNAIL_SIDE)
        self._put(key, data)
        self._put(small_key, thumbnail(pixels))
        steps = self._trajectories.pop(index, None)
        height, width, _ = pixels.shape
        self._images.append(
            PublishedImage(
                index=index,
                seed=seed,
                width=width,
                height=height,
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                key=key,
                thumbnail_key=small_key,
                trajectory=() if steps is None else steps.close(),
            )
        )

    def outcome(self, timings: Timings) -> Succeeded:
        """All images, in their order."""
        return Succeeded(
            images=tuple(sorted(self._images, key=lambda image: image.index)),
            timings=timings,
            model_revision=self._revision,
            fingerprint=self._fingerprint,
        )


class Verdict:
    """Whether an image that was developed again has the pixels of its file."""

    def __init__(self, claim: Claim, params: VerifyParams, revision: str, fingerprint: str, get: Get) -> None:
        self._claim = claim
        self._params = params
        self._revision = revision
        self._fingerprint = fingerprint
        self._get = get
        self._found: dict[str, Any] = {}

    def keep(self, index: int, step: int, x0: Any) -> None:
        """Nobody asked for its steps."""

    def add(self, index: int, seed: int, pixels: NDArray[np.uint8]) -> None:
        """Compare it, as a file of the same format, with the file that there is."""
        key = self._claim.inputs.get(PICTURE)
        original = b"" if key is None else self._get(key)
        if hashlib.sha256(original).hexdigest() != self._params.sha256:
            raise InputLost(f"the file of image {self._params.image} is gone, or not what it was")
        made = self._params.recipe
        again = encode(pixels, made, Recipe.of(made, 0, self._revision) if made.metadata else None)
        self._found = {"same_file": again == original, "sha256": hashlib.sha256(again).hexdigest()}
        self._found |= difference(_pixels(again), _pixels(original))

    def outcome(self, timings: Timings) -> Answered:
        """What was found, and by whom."""
        by = {"model_revision": self._revision, "fingerprint": self._fingerprint}
        return Answered(self._found | by, timings, self._revision)


class Estimate:
    """The picture that an image was estimated to be after one of its steps, as PNG."""

    def __init__(self, claim: Claim, params: DecodeParams, revision: str, put: Put) -> None:
        self._claim = claim
        self._params = params
        self._revision = revision
        self._put = put
        self._key = image_key(claim.job_id, claim.attempt, 0, "png")
        self._found: dict[str, Any] = {}

    def keep(self, index: int, step: int, x0: Any) -> None:
        """There are no steps."""

    def add(self, index: int, seed: int, pixels: NDArray[np.uint8]) -> None:
        """Write the picture."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        data = buffer.getvalue()
        self._put(self._key, data)
        height, width, _ = pixels.shape
        facts = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "key": self._key}
        self._found = {"step": self._params.step, "width": width, "height": height, **facts}

    def outcome(self, timings: Timings) -> Answered:
        """Which picture it is."""
        return Answered(self._found, timings, self._revision, decoded_key=self._key)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> dict[str, Any]:
    """Whether two pictures (h, w, 3) are equal, and how they are not: in how many pixels, and by how much at most."""
    if one.shape != other.shape:
        return {"equal": False, "differing_pixels": max(one.size, other.size) // 3, "largest_difference": 255}
    apart = np.abs(one.astype(np.int16) - other)
    differing = int(apart.any(axis=-1).sum())
    return {"equal": differing == 0, "differing_pixels": differing, "largest_difference": int(apart.max())}


def encode(pixels: NDArray[np.uint8], params: PictureParams, embedded: Recipe | None) -> bytes:
    """A (h, w, 3) uint8 picture as a file in the format that was asked for, with its recipe if there is one."""
    options: dict[str, Any] = {} if embedded is None else recipe.embedding(embedded, params.format)
    if params.format != "png":
        options["quality"] = params.quality
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, params.format.upper(), **options)
    return buffer.getvalue()


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """The picture as a WebP that fits into a square of THUMBNAIL_SIDE pixels; a smaller one keeps its size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))
