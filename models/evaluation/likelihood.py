"""How many bits a latent diffusion model needs for pictures: two bounds.

Latents: nats for each latent number, by the variational bound of the diffusion (Ho et al. 2020, eq. 5), conditioned on
captions, unguided. The sum over the timesteps is estimated from a few of them, drawn by lot; the prior and
the reconstruction are computed.

Pixels: bits for each of their colours, by the bound of the autoencoder on top,
    -log p(x) <= E[-log p(x | z) + log q(z | x) - log p(z)],   z ~ q(z | x),
with p(x | z) a discretised Laplace distribution about the decoded picture, one scale a colour, fitted on other
pictures; and -log p(z) bounded as above. It is a bound on a bound, and named so.

Axes: b pictures, c latent channels, h height, w width (latent cells).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.likelihood import bound_term, prior_term
from models.pipeline import Pipeline
from models.process import predict_x0, q_sample, reverse
from models.tasks.given import nothing_given
from models.training.batches import Batch

BATCH = 16  # pictures at a time


@dataclass(frozen=True, slots=True)
class Likelihood:
    """nats_per_latent: a bound, density of the latents; bits_per_colour: a bound on the pixels, 8 = nothing known."""

    nats_per_latent: float
    bits_per_colour: float


@torch.inference_mode()
def judge_likelihood(pipeline: Pipeline, batch: Batch, fit_on: Batch, *, num_timesteps: int, seed: int) -> Likelihood:
    """The two bounds for the pictures of `batch`, the decoder's scales fitted on those of `fit_on`.

    num_timesteps: how many timesteps are drawn for each picture.
    """
    generator = torch.Generator().manual_seed(seed)
    scales = laplace_scales(pipeline, fit_on.images)
    latent_nats, pixel_nats = [], []
    for start in range(0, len(batch.captions), BATCH):
        images = batch.images[start : start + BATCH].to(pipeline.device)
        posterior = pipeline.autoencoder.posterior(images)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(pipeline.device)
        z = pipeline.autoencoder.scale(posterior.sample(noise))
        nats = latent_bound(pipeline, z, batch.captions[start : start + BATCH], num_timesteps, generator)
        # -log q(z | x); `scale` stretches the space, and so thins the density
        log_std = 0.5 * posterior.log_variance + math.log(pipeline.autoencoder.config.scaling_factor)
        surprise = (0.5 * noise.square() + log_std + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
        decoded = pipeline.autoencoder.decode(z).float()
        latent_nats.append(nats / z[0].numel())
        pixel_nats.append((laplace_nats(images, decoded, scales) - surprise + nats) / images[0].numel())
    return Likelihood(
        nats_per_latent=float(torch.cat(latent_nats).mean()),
        bits_per_colour=float(torch.cat(pixel_nats).mean()) / math.log(2),
    )


def latent_bound(
    pipeline: Pipeline, x0: Tensor, captions: tuple[str, ...], num_timesteps: int, generator: torch.Generator
) -> Tensor:
    """The variational bound of latents x0 (b, c, h, w) given their captions, estimated: (b,) nats."""
    schedule, count = pipeline.schedule, len(x0)
    text = pipeline.text_encoder.encode(captions).to(pipeline.dtype)
    nothing = nothing_given(pipeline, x0.shape[1:])

    def network(x: Tensor, t: Tensor) -> Tensor:
        inputs = x if nothing is None else torch.cat([x, nothing.expand(count, -1, -1, -1)], dim=1)
        prediction: Tensor = pipeline.unet(inputs.to(pipeline.dtype), t, text)
        return prediction.float()

    def term(t: Tensor) -> Tensor:
        x = q_sample(x0, t, torch.randn(x0.shape, generator=generator).to(x0.device), schedule)
        step = reverse(predict_x0(network, x, t, schedule), x, t, schedule, "beta")
        return bound_term(step, x0, x, t, schedule)

    total = prior_term(x0, schedule) + term(torch.zeros(count, dtype=torch.long, device=x0.device))
    others = schedule.num_timesteps - 1
    for place in range(num_timesteps):
        # one in each of equal stretches: less is left to chance than by independent draws
        drawn = (place + torch.rand(count, generator=generator)) / num_timesteps * others
        total = total + term(1 + drawn.long().clamp(max=others - 1).to(x0.device)) * (others / num_timesteps)
    return total


def laplace_scales(pipeline: Pipeline, images: Tensor) -> Tensor:
    """The likeliest scale of a Laplace distribution for each colour: the mean absolute error. (b, 3, h, w) to (3,)."""
    errors = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH].to(pipeline.device)
        errors.append((pipeline.autoencoder.decode(pipeline.autoencoder.encode(some)).float() - some).abs())
    # no narrower than a hundredth of a bin: a perfect decoder would have none
    return torch.cat(errors).mean(dim=(0, 2, 3)).clamp(min=0.01 * 2 / 255)


def laplace_nats(images: Tensor, decoded: Tensor, scales: Tensor) -> Tensor:
    """-log of what Laplace distributions about `decoded` give to the bins around 8-bit pixels: (b, 3, h, w) to (b,).

    Bins are 2/255 wide; the first and the last reach to infinity. Scales (3,).
    """
    centre, scale = decoded.double(), scales.double().view(1, -1, 1, 1)
    low, high = images.double() - 1 / 255, images.double() + 1 / 255
    above = _laplace_cdf((high - centre) / scale).where(images < 0.999, 1.0)
    below = _laplace_cdf((low - centre) / scale).where(images > -0.999, 0.0)
    return -(above - below).clamp(min=1e-300).log().flatten(1).sum(1).float()


def _laplace_cdf(x: Tensor) -> Tensor:
    # exp of a negative number on either side, so that nothing overflows
    tail = 0.5 * (-x.abs()).exp()
    return torch.where(x < 0, tail, 1 - tail)
