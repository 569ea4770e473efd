"""Many pictures on one sheet, as photographers judge a film."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP = 8
_LINE_HEIGHT = 13
_NUM_LINES = 3
_FONT_SIZE = 11


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], columns: int, captions: Sequence[str] | None = None
) -> Image.Image:
    """Pictures (h, w, 3) of one size in rows of `columns`, each above its caption.

    Raises: ValueError for no pictures or columns, pictures of several sizes, or captions not one a picture.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a sheet needs pictures and columns, got {len(pictures)} and {columns}")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"a sheet needs a caption a picture, got {len(captions)} for {len(pictures)} pictures")
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise ValueError(f"pictures on a sheet must have one size, got {sorted(shapes)}")
    height, width, _ = pictures[0].shape
    cell_width = width + _GAP
    cell_height = height + _GAP + (_LINE_HEIGHT * _NUM_LINES if captions is not None else 0)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for k, picture in enumerate(pictures):
        x, y = _GAP + k % columns * cell_width, _GAP + k // columns * cell_height
        sheet.paste(Image.fromarray(picture), (x, y))
        if captions is not None:
            lines = wrap(captions[k], max(8, int(width / (0.52 * _FONT_SIZE))))[:_NUM_LINES]
            draw.multiline_text((x, y + height + 2), "\n".join(lines), fill="#333333", font=font, spacing=2)
    return sheet
