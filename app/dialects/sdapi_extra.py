"""A picture that a client of AUTOMATIC1111's API wants larger: by a model of ours, or by scaling alone."""

from dataclasses import dataclass
from typing import Final

from app import desk
from app.deps import House
from app.dialects import pictures
from app.dialects.asking import Order
from app.dialects.pictures import named
from app.dialects.sdapi import bytes_of
from app.dialects.sizing import Size, written
from app.errors import Invalid
from app.faults import Fault
from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import SuperResolution, scales_of
from app.jobs.spec.sizing import MAX_RESULT_PIXELS
from app.schemas.sdapi import ExtraIn

NONE, LANCZOS, NEAREST = "None", "Lanczos", "Nearest"
PLAIN: Final = (NONE, LANCZOS, NEAREST)
"""What makes no use of a model."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a picture becomes as large as is wanted: its file, if that is made already, or the order for a job."""

    size: Size
    said: str
    file: bytes = b""
    order: Order | None = None


def way_of(house: House, asked: ExtraIn, owner: str) -> Way:
    """What is to be done.  Any name that is no model's means the default one; without one, Lanczos' method.

    Raises: SpecError; Invalid; Busy; QuotaReached; StoreUnavailable; StorageError.
    """
    data = pictures.plain(bytes_of(asked.image, "image"), "image")
    own = pictures.size_of(data)
    if asked.upscaler_1 == NONE:
        return Way(own, "Nothing was enlarged: upscaler_1 is None.", data)
    size = _wanted(asked, own)
    entry = None if asked.upscaler_1 in PLAIN else _upscaler(house, asked.upscaler_1)
    scales = [] if entry is None or entry.scale is None else scales_of(entry.scale)
    # What only becomes smaller needs no model, and what would become too large has none.
    possible = [scale for scale in scales if own[0] * own[1] * scale**2 <= MAX_RESULT_PIXELS]
    if entry is None or not possible or all(wanted <= side for wanted, side in zip(size, own, strict=True)):
        nearest = asked.upscaler_1 == NEAREST
        method = NEAREST if nearest else LANCZOS
        return Way(size, f"Scaled to {written(size)} by {method}.", pictures.enlarged(data, size, nearest=nearest))
    reaching = [scale for scale in possible if all(side * scale >= w for side, w in zip(own, size, strict=True))]
    scale = reaching[0] if reaching else possible[-1]
    given = pictures.keep(house, data, "image", owner)
    wish = SuperResolution.model_validate(
        {"task": "super_resolution", "image": named(given), "model": entry.name, "scale": scale}
    )
    made = own[0] * scale, own[1] * scale
    rest = "" if made == size else f", then scaled to {written(size)} by {LANCZOS}"
    said = f"Made {scale} times as large by {entry.name}{rest}."
    told = {"of": "extra-single-image", **asked.model_dump(exclude={"image"})}
    return Way(size, said, order=Order(wish, told, {"image": given}))


def upscalers(house: House) -> list[CatalogueEntry]:
    """The models that make pictures larger."""
    return [entry for entry in house.store.catalogue() if "super_resolution" in entry.tasks]


def _upscaler(house: House, name: str) -> CatalogueEntry | None:
    found = upscalers(house)
    wanted = next((entry for entry in found if entry.name == name), None)
    return wanted or (desk.default_model(house, "super_resolution") if found else None)


def _wanted(asked: ExtraIn, own: Size) -> Size:
    """How large the picture shall be.  Raises: Invalid."""
    if asked.resize_mode == 1:
        frame = asked.upscaling_resize_w, asked.upscaling_resize_h
        share = min(frame[0] / own[0], frame[1] / own[1])
        size = frame if asked.upscaling_crop else (round(own[0] * share), round(own[1] * share))
    else:
        size = round(own[0] * asked.upscaling_resize), round(own[1] * asked.upscaling_resize)
    size = max(1, size[0]), max(1, size[1])
    if size[0] * size[1] > MAX_RESULT_PIXELS:
        raise Invalid.of(Fault.of_field("upscaling_resize", f"must not make more than {MAX_RESULT_PIXELS} pixels"))
    return size
