"""Where a run's pictures come from, as its config says: whole scenes, squares out of larger ones, or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.training.batches import Batch, batches, draw_batch
from models.training.config import TrainingConfig
from models.training.details import draw_details
from models.training.domain import Split, Stage
from models.training.image_folder import ImageFolder
from models.training.parallel import ALONE, Group
from models.training.stages import STAGES
from models.training.vocabulary import caption_corpus, examples, vocabulary


class Source(Protocol):
    """Captioned square pictures, each batch decided by its seed, number and split alone."""

    def draw(self, number: int, count: int, *, split: Split = "train", seed: int = 0) -> Batch:
        """Batch `number` of `count` pictures."""

    def corpus(self, count: int) -> list[str]:
        """Captions to train a tokenizer on."""

    def vocabulary(self) -> Mapping[str, tuple[str, ...]]:
        """The words it teaches by kind, where they are known."""

    def examples(self) -> tuple[str, ...]:
        """A few of its captions."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """Scenes of a stage at size x size pixels; or, with a crop, squares of that side and textures."""

    stage: Stage
    size: int
    is_cropped: bool
    texture_share: float

    def draw(self, number: int, count: int, *, split: Split = "train", seed: int = 0) -> Batch:
        """No two numbers share a picture."""
        if not self.is_cropped:
            return draw_batch(self.stage, self.size, number, count, split=split, seed=seed)
        share = self.texture_share
        return draw_details(self.stage, self.size, number, count, texture_share=share, split=split, seed=seed)

    def corpus(self, count: int) -> list[str]:
        """The first captions of training."""
        return caption_corpus(self.stage, count)

    def vocabulary(self) -> Mapping[str, tuple[str, ...]]:
        """The stage's words."""
        return vocabulary(self.stage)

    def examples(self) -> tuple[str, ...]:
        """What the stage's captions say."""
        return examples(self.stage)


def open_source(config: TrainingConfig) -> Source:
    """The source that a config names. Raises: ValueError for a folder without captioned pictures."""
    if config.images:
        return ImageFolder(Path(config.images), config.size, is_cropped=config.crop_size > 0)
    return Scenes(STAGES[config.scenes], config.size, config.crop_size > 0, config.texture_share)


def stream(source: Source, config: TrainingConfig, first_step: int, group: Group = ALONE) -> Iterator[Batch]:
    """This process's share of the batches of a run from a step on, without end."""
    count = group.share(config.batch_size)
    return batches(lambda step: source.draw(step * group.size + group.rank, count, seed=config.seed), first_step)
