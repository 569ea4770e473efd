"""The prompt form: fields of text, and the wish they amount to."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlencode

from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import Params, TextToImage
from app.jobs.spec.text_to_image import Upscale
from app.routes import wishing

if TYPE_CHECKING:
    from app.jobs.recipe import Recipe

FIELDS = (
    "prompt",
    "negative_prompt",
    "model",
    "size",
    "num_images",
    "upscale",
    "steps",
    "guidance_scale",
    "sampler",
    "seed",
    "format",
    "reproducible",
    "save_trajectory",
)
"""What the form asks for; a size is "width x height" in one field."""

FOLDED = FIELDS[1:]
"""What lies in the folded part of the form."""

UPSCALES = get_args(Upscale)

# Sides of a landscape and a portrait, next to the native size.
STRETCH = (3, 2)


def read(sent: Mapping[str, object]) -> dict[str, str]:
    """The form's fields in `sent`, "" for what is not there; anything else that was sent is dropped."""
    return {field: value if isinstance(value := sent.get(field), str) else "" for field in FIELDS}


def wish_of(fields: Mapping[str, str]) -> TextToImage:
    """What the fields ask for; an empty one asks for nothing.  Raises: Invalid."""
    said = {field: text for field, text in fields.items() if text.strip()}
    if size := said.pop("size", None):
        said["width"], _, said["height"] = size.partition("x")
    # Texts stand for numbers, but not for one of several.
    times = said.pop("upscale", "1")
    if times not in map(str, UPSCALES):
        raise Invalid.of(Fault.of_field("upscale", f"must be one of {', '.join(map(str, UPSCALES))}"))
    wish = wishing.wish_of(TextToImage, {"task": "text_to_image", **said})
    return wish.model_copy(update={"upscale": int(times)})


def sentences(faults: Sequence[Fault]) -> dict[str, str]:
    """What to write beside each field of the form; under "" what belongs to none of them."""
    beside = dict.fromkeys(("", *FIELDS), "")
    for fault in faults:
        field = "size" if fault.subject in ("width", "height") else fault.subject
        if field in beside:
            beside[field] = f"This {fault.detail}."
        else:
            beside[""] = f"{fault.sentence}."
    return beside


def query_of(recipe: "Params | Recipe", seed: int | None) -> str:
    """The query that fills the form with a recipe; what it does not say stays empty."""
    fields = {field: getattr(recipe, field, None) for field in FIELDS if field not in ("size", "seed", "num_images")}
    size = None if recipe.width is None or recipe.height is None else f"{recipe.width}x{recipe.height}"
    said = {**fields, "size": size, "seed": seed}
    # A box that is not ticked says nothing.
    texts = {field: "true" if value is True else value for field, value in said.items()}
    return urlencode({field: text for field, text in texts.items() if text is not None and text is not False})


def sizes(entry: CatalogueEntry, asked: str = "") -> list[tuple[str, str]]:
    """The sizes the form offers: (value, label), the model's own size first, and last another that is asked for."""
    wide, high = entry.native_width, entry.native_height
    long, short = STRETCH
    offered = [(wide, high, "")]
    for shape, width, height in (
        ("landscape", wide * long // short, high),
        ("portrait", wide, high * long // short),
        ("twice", wide * 2, high * 2),
    ):
        width, height = (side // entry.multiple * entry.multiple for side in (width, height))
        if max(width, height) <= entry.max_side:
            offered.append((width, height, shape))
    labels = {f"{w}x{h}": f"{w} × {h}" + (f", {shape}" if shape else "") for w, h, shape in offered}
    # A recipe's own, which the model takes or says why not.
    if asked and asked not in labels:
        labels[asked] = asked.replace("x", " × ")
    return list(labels.items())


def upscales(catalogue: Sequence[CatalogueEntry]) -> list[int]:
    """How many times as large the form offers to make a picture; nothing where no model does."""
    scales = [entry.scale or 0 for entry in catalogue if "super_resolution" in entry.tasks]
    return [times for times in UPSCALES if times <= max(scales)] if scales else []
