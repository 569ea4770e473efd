"""What can be asked of a pipeline: one request type a file, and how it becomes rows.

A new task is one file with a frozen request and a `begin(pipeline, request) -> list[Row]`, and one case in `begin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.row import Row
from models.tasks import image_to_image, inpaint, super_resolution, text_to_image
from models.tasks.decode import Decode, at_the_end
from models.tasks.image_to_image import ImageToImage
from models.tasks.inpaint import Inpaint
from models.tasks.super_resolution import SuperResolution
from models.tasks.text_to_image import TextToImage, enlargement

if TYPE_CHECKING:
    from models.pipeline import Pipeline

Request = TextToImage | ImageToImage | Inpaint | SuperResolution | Decode

__all__ = ["Decode", "ImageToImage", "Inpaint", "Request", "SuperResolution", "TextToImage", "begin", "enlargement"]


def begin(pipeline: Pipeline, request: Request) -> list[Row]:
    """The rows of a request, one an image, before their first step.

    Raises: RequestError naming the field that the model cannot do.
    """
    match request:
        case TextToImage():
            return text_to_image.begin(pipeline, request)
        case ImageToImage():
            return image_to_image.begin(pipeline, request)
        case Inpaint():
            return inpaint.begin(pipeline, request)
        case SuperResolution():
            return super_resolution.begin(pipeline, request)
        case Decode():
            return at_the_end(pipeline, request, begin(pipeline, request.of)[0])
