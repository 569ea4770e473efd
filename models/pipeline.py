"""A loaded model, and the loop that turns noise into pictures.

A request becomes rows, one an image. `step` moves any rows of one latent shape on by one denoising step, whichever
requests they are of, so that a service can let them share the device; `generate` is the loop for one request.

Axes: b rows, n images, c latent channels, h height, w width (latent cells; pixels are f times as many),
k text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.card import ModelCard
from models.errors import NonFinite, RequestError
from models.guidance import guide, guided_rows, stack_rows
from models.networks.autoencoder import Autoencoder, to_uint8
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet
from models.noise import draw_rows
from models.preview import LatentToRgb, fit_latent_to_rgb
from models.process import to_x0
from models.row import Row
from models.sampling import SamplerOptions, SamplingPlan, advance, make_plan
from models.schedule import Schedule
from models.tasks import Request, begin

OnStep = Callable[[int, Sequence[Row]], None]


@dataclass(slots=True)
class Pipeline:
    """The three networks of a latent diffusion model, its schedule, and what it says about itself.

    Networks run in their own dtype; sampler arithmetic, guidance and timesteps in float32.
    """

    unet: UNet
    autoencoder: Autoencoder
    text_encoder: TextEncoder
    schedule: Schedule
    card: ModelCard
    sampler_options: SamplerOptions = field(default_factory=SamplerOptions)
    latent_to_rgb: LatentToRgb | None = None

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.unet.conv_in.weight.dtype

    # --- One request ---------------------------------------------------------------------------------------

    def generate(self, request: Request, on_step: OnStep | None = None) -> NDArray[np.uint8]:
        """The pictures of a request: (n, height, width, 3) uint8, pixels.

        on_step(step, rows) is called after every step.
        Raises: RequestError for what the model cannot do; NonFinite if a picture is lost to NaN.
        """
        rows = self.begin(request)
        while not rows[0].is_done:
            self.step(rows)
            if on_step is not None:
                on_step(rows[0].step, rows)
        return np.stack([self.finish(row) for row in rows])

    @torch.inference_mode()
    def begin(self, request: Request) -> list[Row]:
        """The rows of a request, one an image, before their first step. Raises: RequestError."""
        return begin(self, request)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row]) -> None:
        """One denoising step for every row; they may differ in all but latent shape and number of text tokens.

        Raises: ValueError for a row that is done, or rows of different shapes.
        """
        _check_alike(rows)
        x = torch.stack([row.latents for row in rows])  # (b, c, h, w) float32
        levels = torch.stack([row.plan.levels[row.step] for row in rows]).view(-1, 1, 1, 1).to(self.device)
        prediction = self._predict(rows, x)
        x0 = to_x0(prediction, x, levels, self.schedule.prediction)
        x0_previous = torch.stack([x0[place] if row.x0 is None else row.x0 for place, row in enumerate(rows)])
        z = draw_rows([row.generator for row in rows], x.shape[1:], [row.plan.needs_noise[row.step] for row in rows])
        coefficients = torch.stack([row.plan.coefficients[row.step] for row in rows])  # (b, 4)
        x_next = advance(x, x0, x0_previous, z.to(self.device), coefficients)
        for place, row in enumerate(rows):
            row.latents, row.x0 = x_next[place], x0[place]
            row.step += 1

    @torch.inference_mode()
    def finish(self, row: Row) -> NDArray[np.uint8]:
        """The picture of a row: (height, width, 3) uint8, pixels.

        Raises: NonFinite if it is lost to NaN or infinity.
        """
        if not bool(row.latents.isfinite().all()):
            raise NonFinite(row.index, row.step)
        images = self.autoencoder.decode(row.latents[None].to(self.dtype))
        if not bool(images.isfinite().all()):
            raise NonFinite(row.index, row.step)
        pixels: NDArray[np.uint8] = to_uint8(images)[0].cpu().numpy()
        return pixels

    @torch.inference_mode()
    def preview(self, x0: Tensor) -> NDArray[np.uint8]:
        """A small picture of predicted clean latents (c, h, w), by a linear map: (h, w, 3) uint8, one pixel a cell."""
        if self.latent_to_rgb is None:
            self.latent_to_rgb = fit_latent_to_rgb(self.autoencoder)
        pixels: NDArray[np.uint8] = to_uint8(self.latent_to_rgb(x0[None]))[0].cpu().numpy()
        return pixels

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
    def encode_text(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        """Text states (k, d) of the prompt and, unless None, of the negative prompt, padded to the same k."""
        states = self.text_encoder.encode([prompt] if negative_prompt is None else [prompt, negative_prompt])
        return states[0], states[1] if len(states) > 1 else None

    def nothing_given(self, latents: Tensor) -> Tensor | None:
        """The further input channels that say: nothing is given, paint it all; None where the network has none.

        Shapes: latents (c, h, w). Returns (1 + c, h, w): the mask, and the latents of what it leaves.
        """
        if self.unet.config.in_channels != 2 * len(latents) + 1:
            return None
        return torch.cat([torch.ones_like(latents[:1]), self._masked_out(latents)])

    def _masked_out(self, latents: Tensor) -> Tensor:
        """The latents of a picture of which nothing is left, mid-grey all over: (c, h, w)."""
        factor = self.autoencoder.config.factor
        height, width = latents.shape[-2] * factor, latents.shape[-1] * factor
        grey = torch.zeros(1, self.autoencoder.config.image_channels, height, width, device=self.device)
        return self.autoencoder.encode(grey.to(self.dtype))[0].float()

    # --- One step ------------------------------------------------------------------------------------------

    def _predict(self, rows: Sequence[Row], x: Tensor) -> Tensor:
        """The guided prediction (b, c, h, w) float32; a row costs two rows of the network only while it is guided."""
        scales = [row.guidance.scale_at(row.step, row.num_steps) for row in rows]
        guided = guided_rows(scales)
        text = [row.cond for row in rows] + [_given(rows[place].uncond) for place in guided]
        timesteps = torch.stack([row.plan.timesteps[row.step] for row in rows]).to(self.device, torch.float32)
        inputs = x
        if rows[0].extra is not None:
            inputs = torch.cat([x, torch.stack([_given(row.extra) for row in rows])], dim=1)
        prediction = self.unet(
            stack_rows(inputs, guided).to(self.dtype).contiguous(memory_format=torch.channels_last),
            stack_rows(timesteps, guided),
            torch.stack(text).to(self.dtype),
        )
        return guide(prediction, scales, guided)


def _check_alike(rows: Sequence[Row]) -> None:
    done = [row.index for row in rows if row.is_done]
    if done:
        raise ValueError(f"rows {done} have taken all their steps")
    shapes = {(tuple(row.latents.shape), tuple(row.cond.shape)) for row in rows}
    if len(shapes) != 1:
        raise ValueError(f"the rows of one step must have one latent shape and number of text tokens, got {shapes}")


def _given(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("either all rows of a step have further input channels, or none")
    return tensor
