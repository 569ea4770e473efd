"""The recipe of a picture, and the text in a file that says it; both ways.

A file says its recipe twice. The infotext is for people and for A1111-style tools: an iTXt chunk `parameters` in PNG,
the EXIF UserComment in WebP and JPEG. It cannot hold every prompt (one with a line "Negative prompt:" reads as two),
so the XMP packet holds the recipe once more, exactly, beside the IPTC word for pictures made by a trained model.

Only the recipe is written, no id, no time and no device, so that equal pixels are equal files.
"""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.jobs.failures import JobsError
from app.jobs.spec import Params, image_seed

SAMPLERS_OF_A1111 = {"ddim": "DDIM", "ddpm": "DDPM", "euler": "Euler", "euler_ancestral": "Euler a", "lcm": "LCM"}
"""Our name of a sampler -> the name that A1111 shows. A sampler missing here goes by its own name."""

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RECIPE_NAMESPACE = "urn:darkroom:recipe:1"
IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

USER_COMMENT = 0x9286
MAX_TEXT_LENGTH = 65536
MAX_SETTINGS_LENGTH = 4096

# "Name: value" or "Name: "quoted value"", parted by commas: the last line of an infotext.
SETTING = re.compile(r'\s*(\w[\w \-/]++):\s*("(?:\\.|[^\\"])++"|[^,]*+)(?:,|$)')


NOT_OF_THE_PICTURE = (
    "version",
    "num_images",
    "format",
    "quality",
    "metadata",
    "priority",
    "developed_pixels",
)
"""What parameters say of the job and its files, and not of a picture."""

# Not strict: JSON has no tuples.
Interval = Annotated[tuple[float, float], Field(strict=False)]


class NoRecipe(JobsError, ValueError):
    """A file that is no picture, or a picture in which no recipe is found."""


class Recipe(BaseModel):
    """What one picture was made from: enough to make it again. None is "not said": a stranger's file may omit it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    task: str = "text_to_image"
    prompt: str
    negative_prompt: str = ""
    prompt_syntax: str | None = None
    model: str | None = None
    revision: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: Interval | None = None
    sampler: str | None = None
    eta: float | None = None
    seed: int | None = None
    image: str | None = None
    mask: str | None = None
    mask_mode: str | None = None
    feather: int | None = None
    strength: float | None = None
    fit: str | None = None
    scale: int | None = None
    consistent: bool | None = None

    @classmethod
    def of(cls, params: Params, index: int, revision: str) -> Self:
        """The recipe of image `index` of a job; its seed is the image's own, so one image repeats it.

        Pictures that it was made from are named by their sha256.
        """
        said = params.model_dump(exclude={*NOT_OF_THE_PICTURE})
        return cls(**said | {"revision": revision, "seed": image_seed(params.seed, index)})


def embedding(recipe: Recipe, format: Literal["png", "webp", "jpeg"]) -> dict[str, Any]:
    """The keyword arguments of `PIL.Image.Image.save` that write `recipe` into a file of this format."""
    if format == "png":
        info = PngInfo()
        info.add_itxt("parameters", infotext(recipe))
        info.add_itxt("XML:com.adobe.xmp", xmp(recipe))
        return {"pnginfo": info}
    return {"exif": exif_user_comment(infotext(recipe)), "xmp": xmp(recipe).encode()}


def read(data: bytes) -> Recipe:
    """The recipe in the bytes of a PNG, WebP or JPEG; exact if we wrote it, what can be read of it if A1111 did.

    No pixel is decoded. The recipe of a stranger's file is a stranger's input: validate it as such.
    Raises: NoRecipe.
    """
    try:
        with warnings.catch_warnings():
            # A picture too large to decode still has a recipe that can be read.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "JPEG")) as image:
                packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
                text = image.info.get("parameters") or _user_comment(image)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise NoRecipe(f"no PNG, WebP or JPEG that can be read: {error}") from error
    recipe = _from_xmp(packet) if packet else None
    if recipe is None and isinstance(text, str) and text.strip():
        recipe = parse_infotext(text)
    if recipe is None:
        raise NoRecipe("the picture holds no recipe: neither `parameters`, nor a UserComment, nor our XMP")
    return recipe


def infotext(recipe: Recipe) -> str:
    """The recipe as A1111 writes it: the prompt, "Negative prompt: ...", and one line of settings."""
    size = None if recipe.width is None or recipe.height is None else f"{recipe.width}x{recipe.height}"
    sampler = None if recipe.sampler is None else SAMPLERS_OF_A1111.get(recipe.sampler, recipe.sampler)
    settings = {
        "Steps": recipe.steps,
        "Sampler": sampler,
        "CFG scale": recipe.guidance_scale,
        "Seed": recipe.seed,
        "Size": size,
        "Model hash": recipe.revision,
        "Model": recipe.model,
        "Eta DDIM": None if recipe.eta == 0 else recipe.eta,
        "Denoising strength": recipe.strength,
        "Mask blur": recipe.feather,
        "Postprocess upscale by": recipe.scale,
        "Init image hash": recipe.image,
        "Mask hash": recipe.mask,
    }
    said = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items() if value is not None)
    negative = [f"Negative prompt: {recipe.negative_prompt}"] if recipe.negative_prompt else []
    return "\n".join([recipe.prompt, *negative, said])


def parse_infotext(text: str) -> Recipe:
    """What A1111's own reader would find in `text`; a setting that makes no sense counts as not said.

    Text without settings is all prompt. Raises: NoRecipe if the text is longer than any recipe.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise NoRecipe(f"an infotext has at most {MAX_TEXT_LENGTH} characters, got {len(text)}")
    *lines, last = text.strip().split("\n")
    settings = dict(SETTING.findall(last)) if len(last) <= MAX_SETTINGS_LENGTH else {}
    # A1111's rule: fewer than three settings are no settings, but the end of the prompt.
    if len(settings) < 3:
        lines.append(last)
        settings = {}
    start = next((i for i, line in enumerate(lines) if line.strip().startswith("Negative prompt:")), len(lines))
    negative = "\n".join(line.strip() for line in lines[start:]).removeprefix("Negative prompt:").strip()
    said = {name: _unquoted(value) for name, value in settings.items()}
    width, height = _size(said.get("Size", ""))
    sampler = said.get("Sampler")
    return Recipe(
        task=_task(said),
        prompt="\n".join(line.strip() for line in lines[:start]),
        negative_prompt=negative,
        model=said.get("Model"),
        revision=said.get("Model hash"),
        width=width,
        height=height,
        steps=_integer(said.get("Steps", "")),
        guidance_scale=_number(said.get("CFG scale", "")),
        sampler=next((ours for ours, theirs in SAMPLERS_OF_A1111.items() if theirs == sampler), sampler),
        eta=_number(said.get("Eta DDIM", "")),
        seed=_integer(said.get("Seed", "")),
        image=said.get("Init image hash"),
        mask=said.get("Mask hash"),
        feather=_integer(said.get("Mask blur", "")),
        strength=_number(said.get("Denoising strength", "")),
        scale=_integer(said.get("Postprocess upscale by", "")),
    )


def xmp(recipe: Recipe) -> str:
    """An XMP packet: the IPTC DigitalSourceType of generated pictures, and the recipe as JSON in one attribute."""
    # ASCII: XML 1.0 has no way to write most control characters, JSON has one for all.
    exact = json.dumps(recipe.model_dump(exclude_none=True), ensure_ascii=True, separators=(",", ":"))
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF_NAMESPACE}"><rdf:Description rdf:about=""'
        f' xmlns:Iptc4xmpExt="{IPTC_NAMESPACE}" Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"'
        f' xmlns:darkroom="{RECIPE_NAMESPACE}" darkroom:recipe={quoteattr(exact)}/></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    )


def exif_user_comment(text: str) -> bytes:
    """An EXIF block of one tag, UserComment, in the encoding that A1111 reads: UTF-16, big-endian.

    Built by hand: Pillow gives the tag the type BYTE, which strict readers refuse; EXIF says UNDEFINED.
    """
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    pointer = struct.pack(">HHHLL", 1, 0x8769, 4, 1, 26) + bytes(4)
    entry = struct.pack(">HHHLL", 1, USER_COMMENT, 7, len(comment), 44) + bytes(4)
    return b"Exif\0\0" + b"MM\0*" + struct.pack(">L", 8) + pointer + entry + comment


def _user_comment(image: Image.Image) -> str | None:
    comment = image.getexif().get_ifd(0x8769).get(USER_COMMENT)
    if not isinstance(comment, bytes):
        return None
    charset, text = comment[:8], comment[8:]
    return text.decode("utf-16-be" if charset == b"UNICODE\0" else "utf-8", errors="replace").strip("\0")


def _from_xmp(packet: bytes | str) -> Recipe | None:
    """The recipe that we wrote into an XMP packet; None for anybody else's packet."""
    text = packet.decode(errors="replace") if isinstance(packet, bytes) else packet
    # A packet needs no DOCTYPE, and without one it can declare no entities that grow.
    if RECIPE_NAMESPACE not in text or "<!" in text or len(text) > MAX_TEXT_LENGTH:
        return None
    try:
        description = ElementTree.fromstring(text).find(f".//{{{RDF_NAMESPACE}}}Description")
        exact = None if description is None else description.get(f"{{{RECIPE_NAMESPACE}}}recipe")
        return None if exact is None else Recipe.model_validate_json(exact)
    except (ElementTree.ParseError, ValidationError):
        return None


def _quoted(value: str | int | float) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,\n:"]', text) else text


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _task(said: Mapping[str, str]) -> str:
    """Which task the settings are of, as far as A1111 tells them apart."""
    if "Mask blur" in said or "Mask hash" in said:
        return "inpaint"
    if "Init image hash" in said and "Postprocess upscale by" in said:
        return "super_resolution"
    # A picture from words that was enlarged names a strength as well.
    if "Denoising strength" in said and "Hires upscale" not in said:
        return "image_to_image"
    return "text_to_image"


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text) else None


def _size(text: str) -> tuple[int, int] | tuple[None, None]:
    sides = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    return (int(sides[1]), int(sides[2])) if sides else (None, None)
