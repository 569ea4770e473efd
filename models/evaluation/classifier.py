"""A small classifier of storybook scenes; its features are what FID and its kin compare pictures by.

They are this project's own: figures on them mean something beside each other, and nothing beside published ones, which
use a network trained on photographs.

Axes: b pictures, h height, w width (pixels), d features, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import CheckpointError

BUNDLED_CLASSIFIER = Path(__file__).parent / "assets" / "classifier-a.safetensors"
"""Trained by `storybook-classifier.toml` on scenes of stage a."""

SIDE = 64
"""Pictures are brought to this side (area averages, or bilinear where they are smaller)."""

WIDTHS = (16, 32, 64, 96)
NUM_FEATURES = WIDTHS[-1]


class SceneClassifier(nn.Module):
    """Strided convolutions, mean and maximum over places, and a linear map a question: which thing, which backdrop."""

    def __init__(self, things: Sequence[str], backdrops: Sequence[str]) -> None:
        super().__init__()
        self.things, self.backdrops = tuple(things), tuple(backdrops)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
            )
            for before, after in pairwise((3, *WIDTHS))
        )
        self.thing = nn.Linear(NUM_FEATURES, len(self.things))
        self.backdrop = nn.Linear(NUM_FEATURES, len(self.backdrops))

    def features(self, images: Tensor) -> Tensor:
        """Shapes: images (b, 3, h, w) in [-1, 1]. Returns (b, d)."""
        hidden = images
        if hidden.shape[-2:] != (SIDE, SIDE):
            hidden = F.interpolate(hidden, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        for block in self.blocks:
            hidden = block(hidden)
        # the greatest beside the mean: a thing fills only a part of the picture
        pooled = hidden.mean(dim=(2, 3)) + hidden.amax(dim=(2, 3))
        # of one length: KID's cubic kernel would else see little but the longest
        return F.normalize(pooled, dim=1) * math.sqrt(NUM_FEATURES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the thing and of the backdrop: (b, 3, h, w) to two (b, k)."""
        features = self.features(images)
        return self.thing(features), self.backdrop(features)


def save_classifier(network: SceneClassifier, path: Path) -> None:
    """One safetensors file with the names of the classes."""
    names = {"things": "\n".join(network.things), "backdrops": "\n".join(network.backdrops)}
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path, names)


def load_classifier(path: Path) -> SceneClassifier:
    """Raises: CheckpointError for a file that is no classifier."""
    try:
        with safe_open(path, framework="pt") as file:
            names = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        network = SceneClassifier(names["things"].split("\n"), names["backdrops"].split("\n"))
        network.load_state_dict(tensors)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is no classifier of scenes: {error}") from error
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def accuracy(network: SceneClassifier, images: Tensor, things: Sequence[str], backdrops: Sequence[str]) -> float:
    """The share of pictures (b, 3, h, w) of which it names thing and backdrop rightly."""
    for_thing, for_backdrop = network(images)
    named = zip(for_thing.argmax(1).tolist(), for_backdrop.argmax(1).tolist(), strict=True)
    pairs = [(network.things[thing], network.backdrops[backdrop]) for thing, backdrop in named]
    wanted = list(zip(things, backdrops, strict=True))
    return sum(pair == want for pair, want in zip(pairs, wanted, strict=True)) / len(wanted)
