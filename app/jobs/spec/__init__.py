"""What a client may ask for, and the complete parameters it resolves to; one task a file.

`TextToImage` and its siblings are a client's words, with gaps; `resolve` fills the gaps from the catalogue and gives
`TextToImageParams` and theirs, which have none and are what the row keeps: a retry needs nothing else but the
pictures that they name by their sha256.

    fields       what a field may hold, and the fields that all tasks have
    references   how a picture is named in a body: an upload, an image, a data URI
    sizing       how large the result of a given picture is
    internal     jobs about images, which no body asks for
    params       any task's parameters: read from a row, what they cost
    resolving    wish + catalogue + pictures -> parameters
"""

from app.jobs.spec.fields import MAX_PROMPT_CHARACTERS, MAX_SIDE, SEEDS, Format, Priority
from app.jobs.spec.image_to_image import ImageToImage, ImageToImageParams
from app.jobs.spec.inpaint import MASK_MODES, Inpaint, InpaintParams
from app.jobs.spec.internal import (
    ESTIMATES,
    INTERNAL_TASKS,
    PICTURE,
    AboutImage,
    DecodeParams,
    InternalParams,
    PictureParams,
    VerifyParams,
    recipe_of,
)
from app.jobs.spec.params import (
    PARAMS_VERSION,
    TASKS,
    Params,
    Wish,
    cost,
    image_seed,
    read_params,
    read_picture_params,
    steps_in_all,
)
from app.jobs.spec.references import MAX_DATA_BYTES, MAX_FILE_BYTES, Given, split
from app.jobs.spec.resolving import draw_seed, resolve, scales_of, warnings_of
from app.jobs.spec.super_resolution import SuperResolution, SuperResolutionParams
from app.jobs.spec.text_to_image import TextToImage, TextToImageParams, Upscaler

__all__ = [
    "ESTIMATES",
    "INTERNAL_TASKS",
    "MASK_MODES",
    "MAX_DATA_BYTES",
    "MAX_FILE_BYTES",
    "MAX_PROMPT_CHARACTERS",
    "MAX_SIDE",
    "PARAMS_VERSION",
    "PICTURE",
    "SEEDS",
    "TASKS",
    "AboutImage",
    "DecodeParams",
    "Format",
    "Given",
    "ImageToImage",
    "ImageToImageParams",
    "Inpaint",
    "InpaintParams",
    "InternalParams",
    "Params",
    "PictureParams",
    "Priority",
    "SuperResolution",
    "SuperResolutionParams",
    "TextToImage",
    "TextToImageParams",
    "Upscaler",
    "VerifyParams",
    "Wish",
    "cost",
    "draw_seed",
    "image_seed",
    "read_params",
    "read_picture_params",
    "recipe_of",
    "resolve",
    "scales_of",
    "split",
    "steps_in_all",
    "warnings_of",
]
