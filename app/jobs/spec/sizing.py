"""How large the result of a given picture is.  Sides are pixels, width first."""

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError
from app.jobs.spec.image_to_image import Fit, ImageToImage
from app.jobs.spec.inpaint import Inpaint
from app.jobs.spec.references import Given

MAX_RESULT_PIXELS = 4096 * 4096

Size = tuple[int, int]


def check_side(field: str, side: int, entry: CatalogueEntry) -> None:
    """Refuse a side that the model cannot do.  Raises: SpecError."""
    if side % entry.multiple or not entry.min_side <= side <= entry.max_side:
        allowed = f"must be a multiple of {entry.multiple} from {entry.min_side} to {entry.max_side}"
        raise SpecError(field, side, allowed)


def size_wanted(spec: ImageToImage | Inpaint, entry: CatalogueEntry, image: Given) -> Size | None:
    """The size of the result by the sides that were named, None where none was.  Raises: SpecError."""
    for field, side in (("width", spec.width), ("height", spec.height)):
        if side is not None:
            check_side(field, side, entry)
    match spec.width, spec.height:
        case None, None:
            return None
        case int(width), None:
            frame = width, _following(width * image.height / image.width, entry)
        case None, int(height):
            frame = _following(height * image.width / image.height, entry), height
        case int(width), int(height):
            frame = width, height
    return fitted((image.width, image.height), frame, spec.fit)


def shrunk(size: Size, limit: int) -> Size:
    """The size itself, or the largest of its proportions whose sides are within `limit`."""
    return size if max(size) <= limit else _inside(size, (limit, limit))


def fitted(size: Size, frame: Size, fit: Fit) -> Size:
    """How large a picture of this size is in the frame: all of it, or as much as its proportions allow."""
    return frame if fit == "cover" else _inside(size, frame)


def check_result(image: Given, scale: int) -> Size:
    """The size of the picture, enlarged.  Raises: SpecError if that is more than anybody can look at."""
    if image.width * image.height * scale**2 > MAX_RESULT_PIXELS:
        allowed = f"must have at most {MAX_RESULT_PIXELS // scale**2} pixels to be made {scale} times as large"
        raise SpecError("image", image.width * image.height, allowed)
    return image.width * scale, image.height * scale


def _inside(size: Size, frame: Size) -> Size:
    scale = min(frame[0] / size[0], frame[1] / size[1])
    # Extreme proportions would round to a side of nothing.
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _following(side: float, entry: CatalogueEntry) -> int:
    """The side that the model can do which is nearest to this one."""
    multiple = entry.multiple
    least, most = -(-entry.min_side // multiple) * multiple, entry.max_side // multiple * multiple
    return min(max(round(side / multiple) * multiple, least), most)
