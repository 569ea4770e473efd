"""AUTOMATIC1111's API in our words: what a client asks for there, as an order for a job here."""

import base64
import binascii
import re
from typing import Any, Final

from app import desk
from app.deps import House
from app.dialects import pictures
from app.dialects.asking import Order
from app.dialects.pictures import MAX_PIXELS, MAX_SIDE, Shape, named
from app.dialects.sizing import Size, plan
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError
from app.jobs.recipe import SAMPLERS_OF_A1111
from app.jobs.spec import SEEDS, Given, ImageToImage, Inpaint, TextToImage
from app.schemas.sdapi import AskedIn, Img2ImgIn, Txt2ImgIn

NAME: Final = "sdapi"

MAX_FEATHER: Final = 64

# Nothing is changed by a strength of nothing; one step is the least there is.
LEAST_STRENGTH: Final = 0.001

_ALIASES: Final = {"euler a": ("k_euler_a", "k_euler_ancestral"), "euler": ("k_euler",), "dpm++ 2m": ("k_dpmpp_2m",)}


def from_words(house: House, asked: Txt2ImgIn, owner: str) -> tuple[Order, Shape]:
    """A picture from words.  Raises: CatalogueEmpty; SpecError; Invalid; StoreUnavailable."""
    entry = model_for(house, asked, "text_to_image", owner)
    shape = Shape(_bounded(_final_size(asked), asked))
    way = plan(shape.size or (entry.native_width, entry.native_height), entry, desk.upscales(house))
    sides = {"width": way.developed[0], "height": way.developed[1], "upscale": way.upscale}
    wish = TextToImage.model_validate({"task": "text_to_image", **sides, **_common(asked, entry)})
    return Order(wish, {"of": "txt2img", **asked.model_dump()}), shape


def from_picture(house: House, asked: Img2ImgIn, owner: str) -> tuple[Order, Shape]:
    """A picture from a picture and words; with a mask, only what it marks is painted anew.

    The picture is first made as large as the result shall be.
    Raises: CatalogueEmpty; SpecError; Invalid; Busy; QuotaReached; StoreUnavailable; StorageError.
    """
    size = _bounded((asked.width, asked.height), asked)
    given = {"image": _kept(house, asked.init_images[0], "init_images", size, asked.resize_mode, owner)}
    if asked.mask is not None:
        given["mask"] = _kept(house, asked.mask, "mask", size, asked.resize_mode, owner)
    task = "inpaint" if "mask" in given else "image_to_image"
    entry = model_for(house, asked, task, owner)
    fields = {role: named(each) for role, each in given.items()} | _common(asked, entry)
    fields |= {"task": task, "strength": max(asked.denoising_strength, LEAST_STRENGTH)}
    if task == "inpaint":
        fields["mask_mode"] = "black" if asked.inpainting_mask_invert else "white"
        fields["feather"] = min(asked.mask_blur or 0, MAX_FEATHER)
        wish: Inpaint | ImageToImage = Inpaint.model_validate(fields)
    else:
        fields["width"], fields["height"] = plan(size, entry).developed
        wish = ImageToImage.model_validate(fields)
    return Order(wish, {"of": "img2img", **asked.model_dump(exclude={"init_images", "mask"})}, given), Shape(size)


def model_for(house: House, asked: AskedIn, task: str, owner: str) -> CatalogueEntry:
    """The model that the request names, else the one its owner chose, else the default one, if it offers the task.

    Raises: CatalogueEmpty; SpecError if no model offers the task; StoreUnavailable.
    """
    named_now = asked.override_settings and asked.override_settings.sd_model_checkpoint
    wanted = named_now or house.store.dialects.chosen_model(NAME, owner)
    found = find_model(house.store.catalogue(), wanted)
    return found if found is not None and task in found.tasks else desk.default_model(house, task)


def find_model(catalogue: list[CatalogueEntry], wanted: str | None) -> CatalogueEntry | None:
    """The model of this name or title; None if there is none."""
    return next((entry for entry in catalogue if wanted in (entry.name, title_of(entry))), None)


def title_of(entry: CatalogueEntry) -> str:
    """How that API calls a model: its name, and the beginning of its hash."""
    return f"{entry.name} [{entry.revision[:10]}]"


def sampler_of(name: str | None, entry: CatalogueEntry) -> str | None:
    """Our name of a sampler; None, which means the model's own, for one that the model does not offer."""
    # What is called a scheduler now was once the end of a sampler's name.
    wanted = re.sub(r" (karras|exponential|automatic)$", "", (name or "").strip().lower())
    for ours in entry.samplers:
        theirs = SAMPLERS_OF_A1111.get(ours, ours).lower()
        if wanted in (ours, theirs, *_ALIASES.get(theirs, ())):
            return ours
    return None


def sampler_names(ours: str) -> tuple[str, list[str]]:
    """How that API calls a sampler of ours, and what else it goes by."""
    theirs = SAMPLERS_OF_A1111.get(ours, ours)
    return theirs, [*_ALIASES.get(theirs.lower(), ()), *([] if theirs == ours else [ours])]


def bytes_of(text: str, field: str) -> bytes:
    """What a client wrote in base64, with or without saying so.  Raises: SpecError."""
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SpecError(field, "a text", "must be a picture in base64") from error


def _kept(house: House, text: str, field: str, size: Size, resize_mode: int, owner: str) -> Given:
    data = pictures.resized(bytes_of(text, field), field, size, ("stretch", "crop", "fill", "stretch")[resize_mode])
    return pictures.keep(house, data, field, owner)


def _final_size(asked: Txt2ImgIn) -> Size:
    """How large the picture shall be in the end, after what that API calls the hires fix."""
    if not asked.enable_hr:
        return asked.width, asked.height
    if asked.hr_resize_x or asked.hr_resize_y:
        wide, high = asked.hr_resize_x, asked.hr_resize_y
        return wide or round(high * asked.width / asked.height), high or round(wide * asked.height / asked.width)
    return round(asked.width * asked.hr_scale), round(asked.height * asked.hr_scale)


def _bounded(size: Size, asked: AskedIn) -> Size:
    """The size, if one answer holds so many pictures of it.  Raises: Invalid."""
    count = asked.batch_size * asked.n_iter
    if not all(1 <= side <= MAX_SIDE for side in size) or size[0] * size[1] * count > MAX_PIXELS:
        detail = f"must be smaller for {count} pictures: sides up to {MAX_SIDE}, {MAX_PIXELS} pixels in all"
        raise Invalid.of(Fault.of_field("width", detail))
    return size


def _common(asked: AskedIn, entry: CatalogueEntry) -> dict[str, Any]:
    """What every wish says of a request."""
    count = asked.batch_size * asked.n_iter
    if count > 16:
        raise Invalid.of(Fault.of_field("batch_size", "times n_iter must be at most 16"))
    sampler = sampler_of(asked.sampler_name or asked.sampler_index, entry)
    eta = asked.eta if sampler == "ddim" and asked.eta is not None else 0.0
    return {
        # Whoever says nothing wants anything, and the native API wants a word.
        "prompt": asked.prompt or " ",
        "negative_prompt": asked.negative_prompt or "",
        "prompt_syntax": "weighted",
        "model": entry.name,
        "sampler": sampler,
        "eta": min(max(eta, 0.0), 1.0),
        "steps": asked.steps,
        "guidance_scale": asked.cfg_scale,
        "seed": None if asked.seed is None or asked.seed < 0 else asked.seed % SEEDS,
        "num_images": count,
    }
