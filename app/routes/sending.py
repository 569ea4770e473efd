"""Files on their way to a client: whole, in part, or not again; each may be kept for ever."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Response

from app.deps import House
from app.errors import NotFound, NotSatisfiable, documented

PARTLY: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part that was asked for"},
    304: {"description": "The client has it already"},
    **documented(NotFound, NotSatisfiable),
}
"""What a route that sends a file may answer, besides the file."""

# One range; a client that asks for several gets the whole, which it must be ready for.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a file the client wants, and what it has already."""

    if_none_match: Annotated[str | None, Header(max_length=8192)] = None
    range: Annotated[str | None, Header(max_length=200)] = None
    if_range: Annotated[str | None, Header(max_length=200)] = None


Part = Annotated[Wanted, Depends(Wanted)]


def send(
    house: House,
    key: str,
    media_type: str,
    tag: str,
    headers: Mapping[str, str],
    wanted: Wanted,
) -> Response:
    """What is stored under `key`, or the part of it that is wanted, or 304 if the client has it.

    Raises: NotSatisfiable; NoSuchFile; StorageError.
    """
    etag = f'"{tag}"'
    headers = {
        **headers,
        "ETag": etag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
    }
    if wanted.if_none_match is not None and _names(wanted.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    # A range of another file would be patched into this one.
    is_partial = wanted.range is not None and wanted.if_range in (None, etag)
    if not is_partial or (match := _RANGE.fullmatch(str(wanted.range))) is None:
        return Response(house.storage.get(key), headers=headers, media_type=media_type)
    with house.storage.open(key) as file:
        size = file.seek(0, os.SEEK_END)
        first, last = _bounds(match, size)
        file.seek(first)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(file.read(last - first + 1), 206, headers=headers, media_type=media_type)


def _bounds(wanted: re.Match[str], size: int) -> tuple[int, int]:
    """The first and the last byte of a range.  Raises: NotSatisfiable."""
    first, last, suffix_length = wanted.groups()
    if suffix_length is not None:
        bounds = max(0, size - int(suffix_length)), size - 1
    else:
        bounds = int(first), min(int(last), size - 1) if last else size - 1
    if bounds[0] > bounds[1]:
        raise NotSatisfiable(f"There are {size} bytes.", headers={"Content-Range": f"bytes */{size}"})
    return bounds


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names our tag; W/ does not matter when a GET is compared."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
