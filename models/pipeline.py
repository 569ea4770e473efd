"""A loaded model, and the loop that turns noise into pictures.

A request becomes rows, one an image. `step` moves any rows of one latent shape on by one denoising step, whichever
requests they are of, so that a service can let them share the device; `generate` is the loop for one request.

Axes: b rows, n images, c latent channels, h height, w width (latent cells; pixels are f times as many),
k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.card import ModelCard
from models.errors import NonFinite, RequestError
from models.guidance import guide, guided_rows, stack_rows
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.noise import draw_rows
from models.preview import LatentToRgb, fit_latent_to_rgb
from models.process import to_x0
from models.prompt_syntax import PromptSyntax
from models.row import Row
from models.sampling import SamplerOptions, SamplingPlan, advance, make_plan
from models.schedule import Schedule
from models.tasks import Request, TextToImage, begin, enlargement
from models.tiling import in_tiles

OnStep = Callable[[int, Sequence[Row]], None]


@dataclass(frozen=True, slots=True)
class LowResNoise:
    """How an upscaler noises the small picture that it is given: its schedule, and the noisiest level it knows."""

    schedule: Schedule
    max_level: int


@dataclass(slots=True)
class Pipeline:
    """The three networks of a latent diffusion model, its schedule, and what it says about itself.

    Networks run in their own dtype; sampler arithmetic, guidance and timesteps in float32. `low_res` is what
    super-resolution models have besides; `upscaler` such a model that enlarges what this one develops.
    """

    unet: UNet
    autoencoder: Autoencoder
    text_encoder: TextEncoder
    schedule: Schedule
    card: ModelCard
    sampler_options: SamplerOptions = field(default_factory=SamplerOptions)
    latent_to_rgb: LatentToRgb | None = None
    low_res: LowResNoise | None = None
    upscaler: Pipeline | None = None

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.unet.conv_in.weight.dtype

    @property
    def factor(self) -> int:
        """How many pixels the side of a latent cell has."""
        return self.autoencoder.config.factor

    # --- One request ---------------------------------------------------------------------------------------

    def generate(self, request: Request, on_step: OnStep | None = None) -> NDArray[np.uint8]:
        """The pictures of a request: (n, height, width, 3) uint8, pixels.

        on_step(step, rows) is called after every step, of the upscaler too.
        Raises: RequestError for what the model cannot do; NonFinite if a picture is lost to NaN.
        """
        rows = self.begin(request)
        while not rows[0].is_done:
            self.step(rows)
            if on_step is not None:
                on_step(rows[0].step, rows)
        pictures = [self.finish(row) for row in rows]
        if isinstance(request, TextToImage) and request.upscale != 1 and self.upscaler is not None:
            larger = [enlargement(request, picture, row.seed) for picture, row in zip(pictures, rows, strict=True)]
            pictures = [self.upscaler.generate(one, on_step)[0] for one in larger]
        return np.stack(pictures)

    @torch.inference_mode()
    def begin(self, request: Request) -> list[Row]:
        """The rows of a request, one an image, before their first step. Raises: RequestError."""
        return begin(self, request)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row]) -> None:
        """One denoising step for every row; they may differ in all but their bucket (`Row.bucket`).

        A step that raises leaves every row as it was, so that it can be taken again in other company. Rows that are
        reproducible are computed one after the other.
        Raises: ValueError for a row that is done, or rows of different shapes.
        """
        _check_alike(rows)
        parts = [[row] for row in rows] if rows[0].reproducible else [rows]
        drawing = [row.generator for row in rows if row.plan.needs_noise[row.step]]
        states = [generator.get_state() for generator in drawing]
        try:
            moved = [pair for part in parts for pair in self._moved(part)]
        except Exception:
            for generator, state in zip(drawing, states, strict=True):
                generator.set_state(state)
            raise
        for row, (latents, x0) in zip(rows, moved, strict=True):
            row.latents, row.x0, row.step = latents, x0, row.step + 1

    def _moved(self, rows: Sequence[Row]) -> list[tuple[Tensor, Tensor]]:
        """What the latents and x0 of the rows are after their next step, computed together; changes no row."""
        x = torch.stack([row.latents for row in rows])  # (b, c, h, w) float32
        levels = torch.stack([row.plan.levels[row.step] for row in rows]).view(-1, 1, 1, 1).to(self.device)
        prediction = self._predict(rows, x)
        x0 = to_x0(prediction, x, levels, self.schedule.prediction)
        x0_previous = torch.stack([x0[place] if row.x0 is None else row.x0 for place, row in enumerate(rows)])
        coefficients = torch.stack([row.plan.coefficients[row.step] for row in rows])  # (b, 4)
        needed = [row.plan.needs_noise[row.step] for row in rows]
        z = draw_rows([row.generator for row in rows], x.shape[1:], needed)
        x_next = advance(x, x0, x0_previous, z.to(self.device), coefficients)
        latents = [
            one if row.known is None else row.known.keep(one, row.plan.levels[row.step + 1])
            for row, one in zip(rows, x_next, strict=True)
        ]
        return list(zip(latents, x0, strict=True))

    @torch.inference_mode()
    def finish(self, row: Row) -> NDArray[np.uint8]:
        """The picture of a row: (height, width, 3) uint8, pixels.

        Raises: NonFinite if it is lost to NaN or infinity.
        """
        if not bool(row.latents.isfinite().all()):
            raise NonFinite(row.index, row.step)
        latents = row.latents[None].to(self.dtype)
        decode = self.autoencoder.decode
        if row.tiling is None:
            images = decode(latents)
        else:
            images = in_tiles(decode, latents, row.tiling, self.autoencoder.config.factor)
        if not bool(images.isfinite().all()):
            raise NonFinite(row.index, row.step)
        return row.finishing(images[0])

    @torch.inference_mode()
    def preview(self, x0: Tensor) -> NDArray[np.uint8]:
        """A small picture of predicted clean latents (c, h, w), by a linear map: (h, w, 3) uint8, one pixel a cell."""
        if self.latent_to_rgb is None:
            self.latent_to_rgb = fit_latent_to_rgb(self.autoencoder)
        return self.latent_to_rgb.picture(x0)

    # --- What the tasks build rows with ----------------------------------------------------------------------

    def plan(self, sampler: str | None, num_steps: int | None, *, eta: float = 0.0, start: int = 0) -> SamplingPlan:
        """The table of a sampler on this model's schedule. Raises: RequestError."""
        name = self.card.default_sampler if sampler is None else sampler
        steps = self.card.default_steps if num_steps is None else num_steps
        if name not in self.card.samplers:
            raise RequestError("sampler", f"must be one of {', '.join(self.card.samplers)}, got {name!r}")
        try:
            return make_plan(name, self.schedule, steps, start, replace(self.sampler_options, eta=eta))
        except ValueError as error:
            raise RequestError("sampler", f"{name}: {error}") from error

    @torch.inference_mode()
    def encode_text(
        self, prompt: str, negative_prompt: str | None, syntax: PromptSyntax = "plain"
    ) -> tuple[Tensor, Tensor | None]:
        """Text states (k, d) of the prompt and, unless None, of the negative prompt, padded to the same k.

        Raises: ValueError for a syntax or weight that there is not.
        """
        states = self.text_encoder.encode([prompt] if negative_prompt is None else [prompt, negative_prompt], syntax)
        return states[0], states[1] if len(states) > 1 else None

    @torch.inference_mode()
    def encode_image(self, image: Tensor) -> Tensor:
        """The latents (c, h/f, w/f) float32 of a picture (1, 3, h, w) in [-1, 1]: the mean of the posterior."""
        return self.autoencoder.encode(image.to(self.device, self.dtype))[0].float()

    # --- One step ------------------------------------------------------------------------------------------

    def _predict(self, rows: Sequence[Row], x: Tensor) -> Tensor:
        """The guided prediction (b, c, h, w) float32.

        A row costs two rows of the network while it is guided or if it is reproducible, otherwise one.
        """
        scales = [row.guidance.scale_at(row.step, row.num_steps) for row in rows]
        # unguided, a reproducible row is guided by 1: as large a computation as at any other step
        guided = list(range(len(rows))) if rows[0].reproducible else guided_rows(scales)
        text = [row.cond for row in rows] + [_given(rows[place].uncond) for place in guided]
        timesteps = torch.stack([row.plan.timesteps[row.step] for row in rows]).to(self.device, torch.float32)
        inputs, labels = x, None
        if rows[0].extra is not None:
            inputs = torch.cat([x, torch.stack([_given(row.extra) for row in rows])], dim=1)
        if rows[0].class_label is not None:
            labels = stack_rows(torch.tensor([row.class_label for row in rows], device=self.device), guided)
        network = partial(
            self.unet,
            timesteps=stack_rows(timesteps, guided),
            text=torch.stack(text).to(self.dtype),
            class_labels=labels,
        )
        inputs = stack_rows(inputs, guided).to(self.dtype).contiguous(memory_format=torch.channels_last)
        tiling = rows[0].tiling
        prediction = network(inputs) if tiling is None else in_tiles(network, inputs, tiling)
        return guide(prediction, scales, guided)


def _check_alike(rows: Sequence[Row]) -> None:
    done = [row.index for row in rows if row.is_done]
    if done:
        raise ValueError(f"rows {done} have taken all their steps")
    buckets = {row.bucket for row in rows}
    if len(buckets) != 1:
        raise ValueError(f"the rows of one step must have one latent shape and be of one bucket, got {buckets}")


def _given(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("a row that is guided must have text states to be guided away from")
    return tensor
