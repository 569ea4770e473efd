"""Are its enlargements nearer to the truth than what every picture program can do?

Pictures are shrunk by box averages and enlarged again: by the model, by a bicubic and by a Lanczos filter. PSNR is of
all pixels together, SSIM the mean over pictures (Wang et al. 2004, as torchmetrics computes it).

Axes: n pictures, h height, w width (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from models.evaluation.prompt_following import Pictures
from models.evaluation.report import Report
from models.pipeline import Pipeline
from models.tasks import SuperResolution

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


@dataclass(frozen=True, slots=True)
class Likeness:
    """PSNR in dB; SSIM, 1 = the same; consistency: the greatest difference of a box average from the small picture,
    in 1/255."""

    psnr: float
    ssim: float
    consistency: float


def judge_super_resolution(pipeline: Pipeline, pictures: Pictures, *, report: Report) -> dict[str, Likeness]:
    """How near each way of enlarging comes to pictures (n, h, w, 3), both sides multiples of the model's scale.

    Raises: ValueError for other sides; RequestError for a model that is no upscaler.
    """
    scale = pipeline.autoencoder.config.factor
    small = shrunk(pictures, scale)
    ways: dict[str, list[np.ndarray]] = {"model": [], "model, consistent": [], **{name: [] for name in FILTERS}}
    for seed, one in enumerate(small):
        ways["model"].append(pipeline.generate(SuperResolution(image=one, seed=seed))[0])
        ways["model, consistent"].append(pipeline.generate(SuperResolution(image=one, seed=seed, consistent=True))[0])
        for name, kernel in FILTERS.items():
            sides = (one.shape[1] * scale, one.shape[0] * scale)
            ways[name].append(np.asarray(Image.fromarray(one).resize(sides, kernel)))
        report(f"enlarged {seed + 1} of {len(small)}")
    return {name: likeness(np.stack(results), pictures, small) for name, results in ways.items()}


def likeness(results: Pictures, truth: Pictures, small: Pictures) -> Likeness:
    """How near results are to the truth, (n, h, w, 3) each, and to the small pictures that they were made from."""
    # an optional dependency: only who judges upscalers needs it
    from torchmetrics.functional.image import structural_similarity_index_measure

    scale = truth.shape[1] // small.shape[1]
    mse = float(np.square(results.astype(np.float64) - truth).mean())
    images = [torch.from_numpy(pictures).permute(0, 3, 1, 2).double() for pictures in (results, truth)]
    ssim = structural_similarity_index_measure(images[0], images[1], data_range=255.0)
    return Likeness(
        psnr=float("inf") if mse == 0 else 10.0 * float(np.log10(255.0**2 / mse)),
        ssim=float(ssim),  # type: ignore[arg-type]
        consistency=float(np.abs(_boxes(results, scale) - small).max()),
    )


def shrunk(pictures: Pictures, scale: int) -> Pictures:
    """Pictures (n, h, w, 3) at 1 / scale of their sides, by box averages, rounded to 8 bit.

    Raises: ValueError unless both sides are multiples of the scale.
    """
    if pictures.shape[1] % scale or pictures.shape[2] % scale:
        raise ValueError(f"height and width must be multiples of {scale}, got {pictures.shape[1:3]}")
    boxes: Pictures = np.rint(_boxes(pictures, scale)).astype(np.uint8)
    return boxes


def _boxes(pictures: Pictures, scale: int) -> np.ndarray:
    n, height, width, _ = pictures.shape
    cells = pictures.reshape(n, height // scale, scale, width // scale, scale, 3)
    means: np.ndarray = cells.mean(axis=(2, 4), dtype=np.float64)
    return means
