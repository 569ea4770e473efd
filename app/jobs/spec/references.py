"""How a picture is named: by a client, who has an upload, an image or the bytes; and in a row, by its sha256."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_DATA_BYTES = 8 << 20
MAX_FILE_BYTES = 20 << 20
_BASE64_CHARACTERS = -(-MAX_DATA_BYTES // 3) * 4
_DATA_PREFIX = re.compile(r"data:image/(?:png|jpeg|webp);base64,")
_STORED = re.compile(r"(?:upload|image):[0-9a-f]{32}")
_SHA256_PREFIX = "sha256:"

FORMS = '"upload:<id>", "image:<id>", or a data:image/png, jpeg or webp URI in base64'


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of a picture that a job is made from, without looking into it.

    `marks`: the mask modes by which it, as a mask, would mark at least one pixel.
    """

    sha256: str
    width: int
    height: int
    marks: frozenset[str] = frozenset()


def _known_form(reference: str) -> str:
    # A prefix, not the whole: the rest of a data URI is read once, when it is decoded.
    if data := _DATA_PREFIX.match(reference):
        if len(reference) - data.end() > _BASE64_CHARACTERS:
            raise ValueError(f"must be a data URI of at most {MAX_DATA_BYTES >> 20} MiB; send larger files as uploads")
    elif not _STORED.fullmatch(reference):
        raise ValueError(f"must be {FORMS}")
    return reference


Reference = Annotated[
    str,
    # Not in the repr, and so in no log: it may be eleven million characters.
    Field(repr=False, description=FORMS, examples=["upload:0f8a5d2c7b9e4a10b3c6d7e8f9a0b1c2"]),
    AfterValidator(_known_form),
]
Pinned = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", description="sha256 of the picture's own bytes")]


def split(reference: str) -> tuple[str, str]:
    """What kind of reference it is (upload, image or data), and the id or the base64 text in it."""
    kind, _, rest = reference.partition(":")
    return kind, rest.partition(",")[2] if kind == "data" else rest


def pinned(given: Given) -> str:
    """How parameters name the picture."""
    return _SHA256_PREFIX + given.sha256


def sha256_of(pin: str) -> str:
    """The sha256 in what `pinned` gave."""
    return pin.removeprefix(_SHA256_PREFIX)
