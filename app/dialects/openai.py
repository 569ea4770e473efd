"""The OpenAI Images API in our words: what a client asks for there, as an order for a job here."""

from typing import Any, Final

from app import desk
from app.deps import House
from app.dialects.asking import Order, model_for
from app.dialects.pictures import MAX_PIXELS, Shape, named
from app.dialects.sizing import Size, plan
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import Format, Given, ImageToImage, Inpaint, TextToImage
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
    way = plan(shape.size or (entry.native_width, entry.native_height), entry, desk.upscales(house))
    sides = {"width": way.developed[0], "height": way.developed[1], "upscale": way.upscale}
    common = _common(asked, entry, shape, way.made)
    wish = TextToImage.model_validate({"task": "text_to_image", **sides, **common})
    return Order(wish, {"of": "generations", **asked.model_dump()}), shape


def edit(house: House, asked: EditIn, image: Given, mask: Given | None) -> tuple[Order, Shape]:
    """A picture from a picture and words; with a mask, only its transparent part is painted anew.

    Where no size is named, it stays as large as it is.
    Raises: CatalogueEmpty; SpecError; Invalid; StoreUnavailable.
    """
    own_size = image.width, image.height
    shape = shape_of(asked, own_size)
    said = {"of": "edits", **asked.model_dump()}
    strength = {} if asked.strength is None else {"strength": asked.strength}
    if mask is not None:
        # At its own size, whatever is asked: what the mask leaves alone is then the client's own pixels.
        entry = model_for(house, asked.model, "inpaint")
        marked = {"image": named(image), "mask": named(mask), "mask_mode": "transparent"}
        fields = {"task": "inpaint", **marked, **strength, **_common(asked, entry, shape, own_size)}
        return Order(Inpaint.model_validate(fields), said, {"image": image, "mask": mask}), shape
    entry = model_for(house, asked.model, "image_to_image")
    way = plan(shape.size or own_size, entry)
    sides = {"width": way.developed[0], "height": way.developed[1]}
    fields = {"task": "image_to_image", "image": named(image), **sides, **strength}
    wish = ImageToImage.model_validate({**fields, **_common(asked, entry, shape, way.made)})
    return Order(wish, said, {"image": image}), shape


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
