"""Gaps filled: a wish, a model of the catalogue and the pictures that are given become parameters."""

import secrets
from collections.abc import Mapping
from typing import Any, assert_never

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError
from app.jobs.spec.fields import SEEDS
from app.jobs.spec.image_to_image import ImageToImage, ImageToImageParams
from app.jobs.spec.inpaint import Inpaint, InpaintParams
from app.jobs.spec.internal import PictureParams
from app.jobs.spec.params import Wish
from app.jobs.spec.references import Given, pinned
from app.jobs.spec.sizing import MAX_RESULT_PIXELS, check_result, check_side, shrunk, size_wanted
from app.jobs.spec.super_resolution import SuperResolution, SuperResolutionParams
from app.jobs.spec.text_to_image import TextToImage, TextToImageParams, Upscaler

Inputs = Mapping[str, Given]
NOTHING_GIVEN: Inputs = {}


def resolve(
    spec: Wish,
    entry: CatalogueEntry,
    seed: int,
    given: Inputs = NOTHING_GIVEN,
    upscaler: CatalogueEntry | None = None,
) -> PictureParams:
    """Fill every gap of `spec` from the model's entry; `seed` is used where the spec names none.

    `given` says what is known of every picture that the spec names, by its role.  `upscaler` is the model that makes
    pictures larger where the spec asks for that as well.
    Raises: SpecError for what only the catalogue and the pictures tell: tasks, sides, samplers, scales, masks.
    """
    if spec.task not in entry.tasks:
        raise SpecError("model", entry.name, f"must be one that offers {spec.task}")
    said = _common(spec, entry, seed)
    match spec:
        case TextToImage():
            return _text_to_image(spec, entry, said, upscaler)
        case ImageToImage():
            return _image_to_image(spec, entry, said, given["image"])
        case Inpaint():
            return _inpaint(spec, entry, said, given["image"], given["mask"])
        case SuperResolution():
            return _super_resolution(spec, entry, said, given["image"])
        case _:
            assert_never(spec)


def warnings_of(spec: Wish, params: PictureParams, given: Inputs) -> tuple[str, ...]:
    """What the client should know of its parameters, and might not expect."""
    if isinstance(spec, ImageToImage) and spec.width is None and spec.height is None:
        image = given["image"]
        if params.width < image.width or params.height < image.height:
            largest = f"{params.width} x {params.height}, the largest that {params.model} makes of it"
            return (f"The picture is {image.width} x {image.height} pixels; the result is {largest}.",)
    return ()


def draw_seed() -> int:
    """A seed for a job whose client named none."""
    return secrets.randbelow(SEEDS)


def _common(spec: Wish, entry: CatalogueEntry, seed: int) -> dict[str, Any]:
    """What every task's parameters have, sides left out."""
    sampler = entry.defaults.sampler if spec.sampler is None else spec.sampler
    if sampler not in entry.samplers:
        raise SpecError("sampler", sampler, f"must be one of {', '.join(entry.samplers)}")
    if spec.eta != 0 and sampler != "ddim":
        raise SpecError("eta", spec.eta, "must be 0 unless sampler is ddim")
    return {
        "prompt": spec.prompt,
        "negative_prompt": spec.negative_prompt,
        "prompt_syntax": spec.prompt_syntax,
        "model": entry.name,
        "steps": entry.defaults.steps if spec.steps is None else spec.steps,
        "guidance_scale": entry.defaults.guidance_scale if spec.guidance_scale is None else spec.guidance_scale,
        "guidance_interval": spec.guidance_interval,
        "sampler": sampler,
        "eta": spec.eta,
        "seed": seed if spec.seed is None else spec.seed,
        "num_images": spec.num_images,
        "format": spec.format,
        "quality": spec.quality,
        "metadata": spec.metadata,
        "priority": spec.priority,
        "reproducible": spec.reproducible,
        "save_trajectory": spec.save_trajectory,
    }


def _text_to_image(
    spec: TextToImage, entry: CatalogueEntry, said: dict[str, Any], upscaler: CatalogueEntry | None
) -> TextToImageParams:
    width = entry.native_width if spec.width is None else spec.width
    height = entry.native_height if spec.height is None else spec.height
    check_side("width", width, entry)
    check_side("height", height, entry)
    return TextToImageParams(
        task=spec.task,
        width=width,
        height=height,
        upscale=spec.upscale,
        upscaler=_upscaler(spec.upscale, width * height, upscaler),
        **said,
    )


def _upscaler(upscale: int, pixels: int, entry: CatalogueEntry | None) -> Upscaler | None:
    if upscale == 1:
        return None
    if entry is None or entry.scale is None:
        raise SpecError("upscale", upscale, "must be 1, since no model here makes pictures larger")
    if upscale not in scales_of(entry.scale):
        offered = " or ".join(map(str, [1, *scales_of(entry.scale)]))
        raise SpecError("upscale", upscale, f"must be {offered}, which is what {entry.name} offers")
    if pixels * upscale**2 > MAX_RESULT_PIXELS:
        raise SpecError("upscale", upscale, f"must not make more than {MAX_RESULT_PIXELS} pixels of the picture")
    defaults = entry.defaults
    return Upscaler(
        model=entry.name,
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        sampler=defaults.sampler,
    )


def scales_of(own: int) -> list[int]:
    """How many times as large a model makes a picture that does it `own` times by itself."""
    # A model that makes them four times as large does half of it by averaging.
    return [2, 4] if own == 4 else [own]


def _image_to_image(
    spec: ImageToImage, entry: CatalogueEntry, said: dict[str, Any], image: Given
) -> ImageToImageParams:
    wanted = size_wanted(spec, entry, image)
    width, height = shrunk((image.width, image.height), entry.max_side) if wanted is None else wanted
    return ImageToImageParams(
        task=spec.task,
        image=pinned(image),
        strength=spec.strength,
        fit=spec.fit,
        width=width,
        height=height,
        **said,
    )


def _inpaint(spec: Inpaint, entry: CatalogueEntry, said: dict[str, Any], image: Given, mask: Given) -> InpaintParams:
    if (mask.width, mask.height) != (image.width, image.height):
        size = f"{image.width} x {image.height}"
        raise SpecError("mask", f"{mask.width} x {mask.height}", f"must be as large as the image, {size} pixels")
    if spec.mask_mode not in mask.marks:
        raise SpecError("mask", "an empty one", f"must have at least one pixel that is {spec.mask_mode}")
    width, height = size_wanted(spec, entry, image) or (image.width, image.height)
    return InpaintParams(
        task=spec.task,
        image=pinned(image),
        mask=pinned(mask),
        mask_mode=spec.mask_mode,
        feather=spec.feather,
        strength=spec.strength,
        fit=spec.fit,
        developed_pixels=min(width, entry.native_width) * min(height, entry.native_height),
        width=width,
        height=height,
        **said,
    )


def _super_resolution(
    spec: SuperResolution, entry: CatalogueEntry, said: dict[str, Any], image: Given
) -> SuperResolutionParams:
    if entry.scale is None:
        raise SpecError("model", entry.name, "must be one that makes pictures larger")
    scale = entry.scale if spec.scale is None else spec.scale
    if scale not in scales_of(entry.scale):
        raise SpecError("scale", scale, f"must be {' or '.join(map(str, scales_of(entry.scale)))}")
    width, height = check_result(image, scale)
    return SuperResolutionParams(
        task=spec.task,
        image=pinned(image),
        scale=scale,
        consistent=spec.consistent,
        width=width,
        height=height,
        **said,
    )
