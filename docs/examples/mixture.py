"""Diffusion in two dimensions: Algorithm 1 learns six islands, Algorithm 2 finds them again from noise.

    python docs/examples/mixture.py [plot.png]

The whole of Ho et al. 2020 on data that fits into a picture, in about fifteen seconds on one core: training,
ancestral sampling, and the variational bound beside the true likelihood, which is known here.

Axes: b = points, each of 2 coordinates; k = islands.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import get_args

import torch
from torch import Generator, Tensor, nn

from models.likelihood import simple_loss, variational_bound
from models.process import FixedVariance, Network, ancestral_sampling
from models.schedule import Schedule, linear_schedule

ISLANDS = 6
STD = 0.2
SCHEDULE = linear_schedule(100, 1e-3, 0.12)
PLOT = Path(__file__).parents[1] / "images" / "mixture.png"


def centres() -> Tensor:
    """The middle of each island, (k, 2), on a circle that gives each coordinate about unit variance."""
    angle = torch.arange(ISLANDS) * (2 * math.pi / ISLANDS)
    return math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=1)


def draw_data(b: int, generator: Generator) -> Tensor:
    """Points of the mixture, (b, 2)."""
    island = torch.randint(ISLANDS, (b,), generator=generator)
    return centres()[island] + STD * torch.randn(b, 2, generator=generator)


def log_likelihood(x: Tensor) -> Tensor:
    """log p(x) of the mixture in nats: (b, 2) to (b,)."""
    squared = torch.cdist(x, centres()) ** 2  # (b, k)
    return (-squared / (2 * STD**2)).logsumexp(1) - math.log(ISLANDS * 2 * math.pi * STD**2)


class Denoiser(nn.Module):
    """A small network that predicts eps: (b, 2), (b,) to (b, 2)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 6, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        phase = t[:, None] / SCHEDULE.num_timesteps * (math.pi / 2) * torch.tensor([1, 2, 4])  # (b, 3)
        eps: Tensor = self.layers(torch.cat([x, phase.sin(), phase.cos()], dim=1))
        return eps


def train(network: nn.Module, schedule: Schedule, num_steps: int, generator: Generator) -> list[float]:
    """Algorithm 1, with Adam for the gradient step. Returns the loss of every step."""
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_steps)
    losses = []
    for _ in range(num_steps):
        x0 = draw_data(512, generator)
        t = torch.randint(schedule.num_timesteps, (512,), generator=generator)
        eps = torch.randn(512, 2, generator=generator)
        loss = simple_loss(network, x0, t, eps, schedule).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def sample(network: Network, schedule: Schedule, b: int, generator: Generator) -> list[Tensor]:
    """Algorithm 2: the noise, then the points after each step; T + 1 of (b, 2)."""
    noise = torch.randn(b, 2, generator=generator)
    return [noise, *ancestral_sampling(network, noise, schedule, generator)]


@torch.no_grad()
def bound(network: Network, x0: Tensor, schedule: Schedule, generator: Generator, variance: FixedVariance) -> float:
    """The variational bound on -log p(x0), nats per point."""

    def draw() -> Tensor:
        return torch.randn(x0.shape, generator=generator)

    return variational_bound(network, x0, schedule, draw, variance).total.mean().item()


def plot(losses: list[float], walk: list[Tensor], data: Tensor, path: Path) -> None:
    """The points on their way from noise to data, beside the data, and the loss."""
    from matplotlib.figure import Figure  # a development dependency: only the picture needs it

    figure = Figure(figsize=(15, 2.9), layout="constrained")
    *panels, last = figure.subplots(1, 6)
    end = len(walk) - 1
    shown = [(f"{end - k} steps left", walk[k]) for k in (0, 3 * end // 4, 9 * end // 10)] + [("sampled", walk[end])]
    for axes, (title, points) in zip(panels, [*shown, ("data", data)], strict=True):
        axes.scatter(*points.T, s=2, alpha=0.5, linewidths=0, color="#b3424a" if title == "data" else "#27496d")
        axes.set(title=title, xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
    last.plot(losses, linewidth=0.4, color="#27496d")
    last.set(title="L_simple", xlabel="training step", ylim=(0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main(path: Path = PLOT) -> None:
    generator = Generator().manual_seed(0)
    torch.manual_seed(0)  # the network's first weights
    network = Denoiser()
    losses = train(network, SCHEDULE, 2500, generator)
    data = draw_data(2000, generator)
    walk = sample(network, SCHEDULE, 2000, generator)
    print(f"-log p(x), true: {-log_likelihood(data).mean():.3f} nats per point")
    for variance in get_args(FixedVariance):
        print(f"bound, variance {variance!r}: {bound(network, data, SCHEDULE, generator, variance):.3f}")
    plot(losses, walk, data, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
