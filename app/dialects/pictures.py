"""A finished picture, or a preview of one, as large as the client asked for and in the format it asked for."""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from app import intake
from app.deps import House
from app.dialects.sizing import Size
from app.jobs.failures import BadPicture, SpecError
from app.jobs.spec import Format, Given
from app.jobs.store import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

    from app.jobs.recipe import Recipe

# As long as the pictures of one answer are held in memory, and what a client may have at once.
MAX_PIXELS: Final = 2 * 4096 * 4096
MAX_SIDE: Final = 4096

_COMPRESS_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """How a client wants its pictures; without a `size`, as large as they were made."""

    size: Size | None
    format: Format = "png"
    quality: int = 90


def finished(house: House, image: Image, shape: Shape) -> bytes:
    """The file of a published image; another one, scaled by Lanczos' method, if it has another size or format.

    Proportions are kept: what hangs over is cut off.  The recipe in the file is that of the published image.
    Raises: NoSuchFile; StorageError.
    """
    data = house.storage.get(image.key)
    size = (image.width, image.height) if shape.size is None else shape.size
    if size == (image.width, image.height) and image.format == shape.format:
        return data
    from PIL import Image as Pillow

    from app.jobs.recipe import Recipe

    recipe = Recipe.of(image.params, image.index, image.model_revision) if image.params.metadata else None
    with Pillow.open(io.BytesIO(data)) as picture:
        return _file(scaled(picture, size), shape, recipe)


def preview(uri: str, shape: Shape) -> bytes | None:
    """The picture in a worker's data: URI, as large as the finished one will be; None if there is none in it.

    Anybody may write to Redis, so it is looked at as a stranger's.
    """
    from PIL import Image as Pillow

    from app.jobs.pictures import normalise

    try:
        data = normalise(base64.b64decode(uri.partition(",")[2])).data
    except (BadPicture, ValueError):
        return None
    with Pillow.open(io.BytesIO(data)) as picture:
        return _file(scaled(picture, shape.size or picture.size), shape)


def scaled(picture: "Pixels", size: Size) -> "Pixels":
    """The picture at this size; what hangs over is cut off on both sides."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    return picture if picture.size == size else ImageOps.fit(picture, size, Pillow.Resampling.LANCZOS)


def resized(data: bytes, field: str, size: Size, way: str) -> bytes:
    """What a client sent in `field`, at this size, as PNG.

    `way` is `stretch`, `crop` (what hangs over is cut off) or `fill` (what is missing is of the picture's own colours).
    Raises: SpecError if it is no picture; Busy.
    """
    from PIL import Image as Pillow
    from PIL import ImageFilter, ImageOps

    data = plain(data, field)
    with Pillow.open(io.BytesIO(data)) as picture:
        if picture.size == size:
            return data
        result = picture.resize(size, Pillow.Resampling.LANCZOS) if way == "stretch" else scaled(picture, size)
        if way == "fill":
            inside = ImageOps.contain(picture, size, Pillow.Resampling.LANCZOS)
            result = result.filter(ImageFilter.GaussianBlur(max(size) / 16))
            result.paste(inside, ((size[0] - inside.width) // 2, (size[1] - inside.height) // 2))
    buffer = io.BytesIO()
    result.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()


def plain(data: bytes, field: str) -> bytes:
    """What a client sent in `field` as a plain PNG.  Raises: SpecError if it is no picture; Busy."""
    from app.jobs.pictures import normalise

    try:
        return normalise(data).data
    except BadPicture as error:
        raise SpecError(field, "a file", str(error)) from error


def size_of(data: bytes) -> Size:
    """The size of a picture that can be read."""
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(data)) as picture:
        return picture.size


def enlarged(data: bytes, size: Size, *, nearest: bool = False) -> bytes:
    """A plain picture scaled without a model; what hangs over is cut off."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    method = Pillow.Resampling.NEAREST if nearest else Pillow.Resampling.LANCZOS
    with Pillow.open(io.BytesIO(data)) as picture:
        return _file(ImageOps.fit(picture, size, method), Shape(size))


def keep(house: House, data: bytes, field: str, owner: str) -> Given:
    """Store what a client sent in `field`, for the job it wants.

    Raises: SpecError if it is no picture; Busy; QuotaReached; StoreUnavailable; StorageError.
    """
    try:
        return intake.keep(house, data, owner)
    except BadPicture as error:
        raise SpecError(field, "a file", str(error)) from error


def named(given: Given) -> str:
    """How a wish calls a picture that is given beside it."""
    return f"upload:{given.sha256[:32]}"


def base64_of(data: bytes) -> str:
    """The bytes as JSON carries them."""
    return base64.b64encode(data).decode()


def _file(picture: "Pixels", shape: Shape, recipe: "Recipe | None" = None) -> bytes:
    from app.jobs.recipe import embedding

    options: dict[str, Any] = {} if recipe is None else embedding(recipe, shape.format)
    options |= {"compress_level": _COMPRESS_LEVEL} if shape.format == "png" else {"quality": shape.quality}
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, shape.format.upper(), **options)
    return buffer.getvalue()
