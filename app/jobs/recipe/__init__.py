"""The recipe of a picture, and the text in a file that says it; both ways.

A file says its recipe twice. The infotext is for people and for A1111-style tools: an iTXt chunk `parameters` in PNG,
the EXIF UserComment in WebP and JPEG. It cannot hold every prompt (one with a line "Negative prompt:" reads as two),
so the XMP packet holds the recipe once more, exactly, beside the IPTC word for pictures made by a trained model.

Only the recipe is written, no id, no time and no device, so that equal pixels are equal files.

    recipe    what a recipe is
    words     the infotext
    packets   XMP and EXIF
"""

import io
import struct
import warnings
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.jobs.recipe.packets import DIGITAL_SOURCE_TYPE, exif_user_comment, from_xmp, user_comment, xmp
from app.jobs.recipe.recipe import MAX_TEXT_LENGTH, NoRecipe, Recipe
from app.jobs.recipe.words import SAMPLERS_OF_A1111, infotext, parse_infotext, split_infotext
from app.jobs.spec import Format

__all__ = [
    "DIGITAL_SOURCE_TYPE",
    "MAX_TEXT_LENGTH",
    "SAMPLERS_OF_A1111",
    "NoRecipe",
    "Recipe",
    "embedding",
    "infotext",
    "parse_infotext",
    "read",
    "split_infotext",
    "written",
    "xmp",
]


def embedding(recipe: Recipe, format: Format) -> dict[str, Any]:
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
    packet, text = _texts(data)
    recipe = from_xmp(packet) if packet else None
    if recipe is None and text.strip():
        recipe = parse_infotext(text)
    if recipe is None:
        raise NoRecipe("the picture holds no recipe: neither `parameters`, nor a UserComment, nor our XMP")
    return recipe


def written(data: bytes) -> str:
    """What the bytes of a PNG, WebP or JPEG say for A1111-style tools, which may be nothing.  Raises: NoRecipe."""
    return _texts(data)[1]


def _texts(data: bytes) -> tuple[Any, str]:
    """The XMP packet and the infotext in a file."""
    try:
        with warnings.catch_warnings():
            # A picture too large to decode still has a recipe that can be read.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # What is wrong with a stranger's EXIF is no news to whoever runs this.
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "JPEG")) as image:
                packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
                text = image.info.get("parameters") or user_comment(image)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise NoRecipe(f"no PNG, WebP or JPEG that can be read: {error}") from error
    return packet, text if isinstance(text, str) else ""
