"""A recipe as a packet of bytes in a file: exactly, in XMP; and around the infotext, where a file has only EXIF."""

import json
import struct
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from PIL import Image
from pydantic import ValidationError

from app.jobs.recipe.recipe import MAX_TEXT_LENGTH, Recipe

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RECIPE_NAMESPACE = "urn:darkroom:recipe:1"
IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

USER_COMMENT = 0x9286


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


def from_xmp(packet: bytes | str) -> Recipe | None:
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


def exif_user_comment(text: str) -> bytes:
    """An EXIF block of one tag, UserComment, in the encoding that A1111 reads: UTF-16, big-endian.

    Built by hand: Pillow gives the tag the type BYTE, which strict readers refuse; EXIF says UNDEFINED.
    """
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    pointer = struct.pack(">HHHLL", 1, 0x8769, 4, 1, 26) + bytes(4)
    entry = struct.pack(">HHHLL", 1, USER_COMMENT, 7, len(comment), 44) + bytes(4)
    return b"Exif\0\0" + b"MM\0*" + struct.pack(">L", 8) + pointer + entry + comment


def user_comment(image: Image.Image) -> str | None:
    """The text in the picture's EXIF UserComment, None if it has none."""
    comment = image.getexif().get_ifd(0x8769).get(USER_COMMENT)
    if not isinstance(comment, bytes):
        return None
    charset, text = comment[:8], comment[8:]
    return text.decode("utf-16-be" if charset == b"UNICODE\0" else "utf-8", errors="replace").strip("\0")
