"""The OpenAI Images API in our words: what a client asks for there, as an order for a job here."""

from typing import Any, Final

from app.deps import House
from app.dialects.asking import Order, model_for
from app.dialects.pictures import MAX_PIXELS, Kept, Shape
from app.dialects.sizing import Size, plan
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import Format, ImageToImage, Inpaint, TextToImage
from app.schemas.openai import EditIn, GenerationIn, sides_of

NAME: Final = "openai"

# What a lossy file loses where nothing is said of it.
QUALITY: Final = 90


def shape_of(asked: GenerationIn, size: Size | None = None) -> Shape:
    """How the client wants its pictures: in the size it names, else in `size`, else as they are made.

    Raises: Invalid if that is more than one answer holds.
    """
    size = sides_of(asked.size) or size
    count = 1 if asked.n is None else asked.n
    if size is not None and size[0] * size[1] * count > MAX_PIXELS:
        raise Invalid.of(Fault.of_field("size", f"must be smaller for {count} pictures: {MAX_PIXELS} pixels in all"))
    quality = QUALITY if asked.output_compression is None else max(1, asked.output_compression)
    return Shape(size, asked.output_format or "png", quality)


def generation(house: House, asked: GenerationIn) -> tuple[Order, Shape]:
    """A picture from words.  Raises: CatalogueEmpty; SpecError; Invalid; StoreUnavailable."""
    entry = model_for(house, asked.model, "text_to_image")
    shape = shape_of(asked)
    way = plan(shape.size or (entry.native_width, entry.native_height), entry)
    wish = TextToImage(
        task="text_to_image",
        width=way.developed[0],
        height=way.developed[1],
        **_common(asked, entry, shape, way.made),
    )
    return Order(wish, {"of": "generations", **asked.model_dump()}), shape


def edit(house: House, asked: EditIn, image: Kept, mask: Kept | None) -> tuple[Order, Shape]:
    """A picture from a picture and words; with a mask, only its transparent part is painted anew.

    Where no size is named, it stays as large as it is.
    Raises: CatalogueEmpty; SpecError; Invalid; StoreUnavailable.
    """
    shape = shape_of(asked, image.size)
    said = {"of": "edits", "image": image.sha256, "mask": None if mask is None else mask.sha256, **asked.model_dump()}
    strength = {} if asked.strength is None else {"strength": asked.strength}
    if mask is not None:
        # At its own size, whatever is asked: what the mask leaves alone is then the client's own pixels.
        entry = model_for(house, asked.model, "inpaint")
        common = _common(asked, entry, shape, image.size)
        marked = {"image": image.reference, "mask": mask.reference, "mask_mode": "transparent"}
        return Order(Inpaint.model_validate({"task": "inpaint", **marked, **strength, **common}), said), shape
    entry = model_for(house, asked.model, "image_to_image")
    way = plan(shape.size or image.size, entry)
    common = _common(asked, entry, shape, way.made)
    sides = {"width": way.developed[0], "height": way.developed[1]}
    begun = {"task": "image_to_image", "image": image.reference}
    return Order(ImageToImage.model_validate({**begun, **sides, **strength, **common}), said), shape


def _common(asked: GenerationIn, entry: CatalogueEntry, shape: Shape, made: Size) -> dict[str, Any]:
    """What every wish says of an order for pictures that come out in the size `made`."""
    # What is scaled afterwards is not pressed twice.
    format: Format = shape.format if shape.size in (None, made) else "png"
    return {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt or "",
        "model": entry.name,
        "steps": asked.steps,
        "guidance_scale": asked.guidance_scale,
        "seed": asked.seed,
        "num_images": 1 if asked.n is None else asked.n,
        "format": format,
        "quality": shape.quality,
    }
