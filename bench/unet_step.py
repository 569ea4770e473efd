"""One guided denoising step of one picture, beside diffusers with the same weights, and beside what the machine can.

The floor is the step's counted operations at the rate of a large matrix product, measured in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.common import ROUNDS, Figure, in_turns, ratio, run, spread
from models import Pipeline, load_pipeline
from models.checkpoints.diffusers_config import write_unet
from models.config import UNetConfig
from models.guidance import Guidance
from models.networks.unet import UNet
from models.row import Row
from models.sampling import SamplerOptions, make_plan
from models.schedule import scaled_linear_schedule

STEPS = 50
SCALE = 7.5
SEED = 7
PRODUCT = 1024

# It has no types.
THEIRS: Any = diffusers

# The shape of Stable Diffusion 1.5's UNet.
REAL = UNetConfig(
    in_channels=4,
    out_channels=4,
    channels=(320, 640, 1280, 1280),
    attention=(True, True, True, False),
    heads=(8, 8, 8, 8),
    cross_attention_dim=768,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A network with weights, and the step that is measured: latents of `side` cells, `tokens` of text."""

    name: str
    unet: UNet
    side: int
    tokens: int
    goal: str


def bundled() -> Case:
    """The bundled model at its native size."""
    pipeline = load_pipeline("storybook")
    side = pipeline.card.native_width // pipeline.autoencoder.config.factor
    tokens = pipeline.text_encoder.config.context_length
    return Case("storybook, 64 px", pipeline.unet, side, tokens, ">= 1.3")


def real_shape() -> Case:
    """Stable Diffusion 1.5's shape with random weights, at 256 px."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        unet = UNet(REAL).eval().requires_grad_(False)
    return Case("SD 1.5 shape, 256 px", unet.to(memory_format=torch.channels_last), 32, 77, ">= 1.15")  # type: ignore[call-overload]


def noise(*shape: int) -> torch.Tensor:
    """The same for both sides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED))


def our_step(case: Case, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """`Pipeline.step` of one guided row, again and again the same step."""
    unet = case.unet if dtype is torch.float32 else deepcopy(case.unet).to(dtype)
    schedule = scaled_linear_schedule()
    # A step asks for no other network.
    pipeline = Pipeline(unet, None, None, schedule, None)  # type: ignore[arg-type]
    text = noise(2, case.tokens, unet.config.cross_attention_dim).to(dtype)
    channels, extra = unet.config.out_channels, unet.config.in_channels - unet.config.out_channels
    latents = noise(channels, case.side, case.side)
    row = Row(
        index=0,
        seed=SEED,
        latents=latents,
        plan=make_plan("ddim", schedule, STEPS, 0, SamplerOptions(spacing="leading")),
        guidance=Guidance(SCALE),
        cond=text[0],
        uncond=text[1],
        generator=torch.Generator(),
        extra=torch.zeros(extra, case.side, case.side) if extra else None,
    )

    def step() -> torch.Tensor:
        one = replace(row, step=STEPS // 2)
        pipeline.step([one])
        return one.latents

    return step


def their_step(case: Case, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """The same of diffusers: both rows in one call of the network, guidance, and the scheduler's step."""
    unet = THEIRS.UNet2DConditionModel.from_config(write_unet(case.unet.config, case.side)).eval().requires_grad_(False)
    unet.load_state_dict(case.unet.state_dict())
    unet = unet.to(dtype=dtype, memory_format=torch.channels_last)
    scheduler = THEIRS.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    scheduler.set_timesteps(STEPS)
    timestep = scheduler.timesteps[STEPS // 2]
    text = noise(2, case.tokens, case.unet.config.cross_attention_dim).flip(0).to(dtype)
    channels, extra = case.unet.config.out_channels, case.unet.config.in_channels - case.unet.config.out_channels
    latents = noise(channels, case.side, case.side)[None]
    more = torch.zeros(2, extra, case.side, case.side)

    @torch.inference_mode()
    def step() -> torch.Tensor:
        x = torch.cat([torch.cat([latents] * 2), more], dim=1).to(dtype)
        uncond, cond = unet(x, timestep, encoder_hidden_states=text).sample.float().chunk(2)
        moved: torch.Tensor = scheduler.step(uncond + SCALE * (cond - uncond), timestep, latents).prev_sample
        return moved[0]

    return step


def product(dtype: torch.dtype) -> Callable[[], object]:
    """A matrix product large enough to run at the machine's rate."""
    one, other = noise(PRODUCT, PRODUCT).to(dtype), noise(PRODUCT, PRODUCT).to(dtype)
    return partial(torch.mm, one, other)


def figures_of(case: Case, dtypes: Mapping[str, torch.dtype], rounds: int) -> list[Figure]:
    """How this case's step compares, in every dtype."""
    sides: dict[str, Callable[[], object]] = {}
    for name, dtype in dtypes.items():
        ours, theirs = our_step(case, dtype), their_step(case, dtype)
        if dtype is torch.float32:
            # What computes something else would be easy to beat.
            torch.testing.assert_close(ours(), theirs(), rtol=1e-4, atol=1e-4)
        sides |= {f"ours {name}": ours, f"theirs {name}": theirs, f"product {name}": product(dtype)}
    with FlopCounterMode(display=False) as counter:
        sides[f"ours {next(iter(dtypes))}"]()
    seconds = in_turns(sides, rounds=rounds)
    figures = []
    for name in dtypes:
        ours_s, theirs_s = seconds[f"ours {name}"], seconds[f"theirs {name}"]
        floor_s = [one * counter.get_total_flops() / (2 * PRODUCT**3) for one in seconds[f"product {name}"]]
        figures += [
            ratio(f"{case.name}, {name}: diffusers / ours", theirs_s, ours_s, case.goal),
            spread(f"{case.name}, {name}: a step", [1000 * each for each in ours_s], "ms"),
            ratio(f"{case.name}, {name}: floor / ours", floor_s, ours_s),
        ]
    if len(dtypes) > 1:
        first, second = dtypes
        figures.append(ratio(f"{case.name}: {first} / {second}", seconds[f"ours {first}"], seconds[f"ours {second}"]))
    return figures


def measure(is_short: bool) -> Sequence[Figure]:
    """The bundled model, and unless it is to be short, the real shape."""
    both = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    figures = figures_of(bundled(), both, ROUNDS if is_short else 5 * ROUNDS)
    if not is_short:
        figures += figures_of(real_shape(), both, ROUNDS)
    return figures


if __name__ == "__main__":
    run("unet_step", measure)
