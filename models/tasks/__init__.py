"""What can be asked of a pipeline: one request type a file, and how it becomes rows.

A new task is one file with a frozen request and a `begin(pipeline, request) -> list[Row]`, and one line in `begin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.row import Row
from models.tasks import text_to_image
from models.tasks.text_to_image import TextToImage

if TYPE_CHECKING:
    from models.pipeline import Pipeline

Request = TextToImage

__all__ = ["Request", "TextToImage", "begin"]


def begin(pipeline: Pipeline, request: Request) -> list[Row]:
    """The rows of a request, one an image, before their first step.

    Raises: RequestError naming the field that the model cannot do.
    """
    return text_to_image.begin(pipeline, request)
