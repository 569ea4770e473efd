"""Super-resolution: a small picture, noised a little, steers the denoising of a large one.

The network sees the small picture beside the noisy latents, cell by pixel: so the enlargement is the autoencoder's
f. How much the small picture was noised is the network's class label (Saharia et al. 2021; Ho et al. 2021, their
conditioning augmentation). Pictures larger than the model's native size are denoised and decoded in tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from models.errors import RequestError
from models.noise import draw
from models.pixels import Picture, as_image, pad, padded_side, to_pixels
from models.process import add_noise
from models.row import Row
from models.tasks.consistency import box_average, keep_colours, project
from models.tasks.prompted import Prompted, from_noise, noise_rows
from models.tiling import Tiling

if TYPE_CHECKING:
    from models.pipeline import LowResNoise, Pipeline


NOISE_LEVEL = 20
"""What the small picture is noised by unless a request says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperResolution(Prompted):
    """An image (h, w, 3) of any size, to be `scale` times as large; None means the model's own scale.

    scale: the model's own, or 2 from a model of 4, by averaging boxes of 2 x 2.
    noise_level: how much the image is noised for the network; more invents more.
    consistent: the result, averaged over scale x scale boxes, equals the image within 1 / 255 per channel.
    keep_colours: whether what drifts from the image's colours is drawn back to them.
    """

    image: Picture
    prompt: str = ""
    scale: int | None = None
    noise_level: int = NOISE_LEVEL
    consistent: bool = False
    keep_colours: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Enlarge:
    """Finishes an enlargement: cut to size, averaged to the scale that was asked, its colours kept as it was asked.

    small (3, h, w) is the picture that was enlarged; `average` the side of the boxes that become one pixel.
    """

    small: Tensor
    scale: int
    average: int
    consistent: bool
    keep_colours: bool

    def __call__(self, image: Tensor) -> NDArray[np.uint8]:
        """Shapes: the decoded picture (3, ...) of the padded one, to (scale h, scale w, 3) uint8."""
        height, width = (side * self.scale * self.average for side in self.small.shape[-2:])
        large = image[:, :height, :width].float().clamp(-1, 1)
        if self.average > 1:
            large = box_average(large, self.average)
        small = self.small.to(large.device)
        if self.keep_colours:
            large = keep_colours(large[None], small[None])[0]
        if self.consistent:
            large = project(large, small)
        return to_pixels(large)


def begin(pipeline: Pipeline, request: SuperResolution) -> list[Row]:
    """One row an image: its further channels are the small picture, its class label the picture's noise level.

    Raises: RequestError for a scale or noise level, or whatever else, that the model cannot do.
    """
    low_res = _low_res(pipeline)
    factor = pipeline.autoencoder.config.factor
    scale = factor if request.scale is None else request.scale
    check_scale(pipeline, "scale", scale)
    if not 0 <= request.noise_level <= low_res.max_level:
        raise RequestError("noise_level", f"must be 0 to {low_res.max_level}, got {request.noise_level}")
    image = as_image(request.image)
    multiple, least = -(-pipeline.card.multiple // factor), -(-pipeline.card.min_side // factor)
    height, width = (padded_side(side, multiple, least) for side in image.shape[-2:])
    small = pad(image, height, width)[0]  # (3, h, w): a pixel for every cell of the latents
    level = low_res.schedule.alpha_bar[request.noise_level]

    def noised(generator: Generator) -> Tensor:
        return add_noise(small, draw(generator, small.shape), level).to(pipeline.device)

    shape = (pipeline.autoencoder.config.latent_channels, height, width)
    rows = noise_rows(pipeline, request, shape, noised)
    for row in rows:
        row.class_label = request.noise_level
        row.tiling = _tiling(pipeline, height, width)
        row.finishing = Enlarge(image[0], scale, factor // scale, request.consistent, request.keep_colours)
    return from_noise(rows)


def scales(pipeline: Pipeline) -> tuple[int, ...]:
    """How many times larger an upscaler can make a picture: its autoencoder's f, and 2 where that is 4."""
    factor = pipeline.autoencoder.config.factor
    return (2, 4) if factor == 4 else (factor,)


def check_scale(pipeline: Pipeline, field: str, scale: int) -> None:
    """Raises: RequestError for `field` if it is no scale of this upscaler."""
    if scale not in scales(pipeline):
        raise RequestError(field, f"must be {' or '.join(map(str, scales(pipeline)))}, got {scale}")


def _low_res(pipeline: Pipeline) -> LowResNoise:
    channels, latent = pipeline.unet.config.in_channels, pipeline.autoencoder.config.latent_channels
    if pipeline.low_res is None or channels != latent + 3 or pipeline.unet.config.num_class_embeds is None:
        raise RequestError("task", "is not what the model was made for: super_resolution needs an upscaler")
    return pipeline.low_res


def _tiling(pipeline: Pipeline, height: int, width: int) -> Tiling | None:
    """Tiles of the model's native size, a quarter of them shared; None for what fits in one."""
    factor = pipeline.autoencoder.config.factor
    rows, columns = pipeline.card.native_height // factor, pipeline.card.native_width // factor
    if height <= rows and width <= columns:
        return None
    return Tiling(rows, columns, overlap=max(1, min(rows, columns) // 4))
