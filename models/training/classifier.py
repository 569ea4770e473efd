"""Trains the classifier that judges pictures; the judge has never seen a drawn one.

Axes: b batch, h height, w width (pixels).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.evaluation.classifier import SIDE, SceneClassifier, accuracy
from models.training.batches import batches, seeded_weights
from models.training.config import ClassifierTraining
from models.training.contact_sheet import contact_sheet
from models.training.domain import Split
from models.training.parallel import ALONE, Group
from models.training.pictures import render
from models.training.scenes import draw_scene
from models.training.stages import STAGES


@dataclass(frozen=True, slots=True)
class Labelled:
    """images (b, 3, h, w) in [-1, 1]; things and backdrops (b,), the numbers of the classes."""

    images: Tensor
    things: Tensor
    backdrops: Tensor


class ClassifierObjective:
    """Cross-entropy of the thing and of the backdrop, over all scenes of one thing."""

    def __init__(self, config: ClassifierTraining, device: torch.device, *, group: Group = ALONE) -> None:
        self.config, self.device, self.group = config, device, group
        self.stage = STAGES[config.scenes]
        self.memory_format = torch.contiguous_format
        things, backdrops = ([one.name for one in kind] for kind in (self.stage.things, self.stage.backdrops))
        with seeded_weights(config.seed):
            self.network = SceneClassifier(things, backdrops)

    def batches(self, first_step: int) -> Iterator[Labelled]:
        """Half of every batch are scenes that models may train on, half scenes that are held out of their training."""
        count = self.group.share(self.config.batch_size)
        return batches(lambda step: self.draw(step * self.group.size + self.group.rank, count), first_step)

    def draw(self, number: int, count: int) -> Labelled:
        """Scenes of one thing, decided by number; a tenth of full contrast is lost to noise, so that it is no oracle of
        single pixels."""
        first = (self.config.seed << 40) + number * count
        splits: tuple[Split, Split] = ("train", "held_out")
        scenes = [draw_scene(first + place, self.stage, splits[place % 2]) for place in range(count)]
        pictures = torch.from_numpy(np.stack([render(scene, SIDE) for scene in scenes])).permute(0, 3, 1, 2)
        noise = torch.from_numpy(np.random.default_rng(first).normal(0, 0.1, pictures.shape).astype(np.float32))
        network = self.network
        return Labelled(
            images=pictures.float() / 127.5 - 1.0 + noise,
            things=torch.tensor([network.things.index(scene.items[0].thing.name) for scene in scenes]),
            backdrops=torch.tensor([network.backdrops.index(scene.backdrop.name) for scene in scenes]),
        )

    def losses(self, batch: Labelled, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss` = thing + backdrop, in nats."""
        thing, backdrop = self.network(batch.images.to(self.device))
        of_thing = F.cross_entropy(thing.float(), batch.things.to(self.device))
        of_backdrop = F.cross_entropy(backdrop.float(), batch.backdrops.to(self.device))
        return {"loss": of_thing + of_backdrop, "thing": of_thing, "backdrop": of_backdrop}

    @torch.no_grad()
    def grid(self, network: SceneClassifier) -> Image.Image:
        """Scenes with the names that it gives them."""
        batch = self.draw(1 << 30, 24)
        thing, backdrop = network(batch.images.to(self.device))
        named = zip(thing.argmax(1).tolist(), backdrop.argmax(1).tolist(), strict=True)
        captions = [f"{network.things[one]}, {network.backdrops[other]}" for one, other in named]
        pictures = ((batch.images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return contact_sheet(list(pictures), columns=8, captions=captions)


def measure_accuracy(objective: ClassifierObjective, network: SceneClassifier, count: int = 500) -> float:
    """The share of fresh scenes that it names rightly."""
    batch = objective.draw((1 << 30) + 1, count)
    things = [network.things[one] for one in batch.things.tolist()]
    backdrops = [network.backdrops[one] for one in batch.backdrops.tolist()]
    return accuracy(network, batch.images.to(objective.device), things, backdrops)
