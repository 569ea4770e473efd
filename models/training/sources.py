"""Where a run's pictures come from, as its config says: whole scenes, or squares out of larger ones and textures."""

from __future__ import annotations

from collections.abc import Iterator

from models.training.batches import Batch, batches, draw_batch
from models.training.config import TrainingConfig
from models.training.details import draw_details
from models.training.domain import Split
from models.training.stages import STAGES


class Source:
    """The pictures of a run, each batch decided by seed, number and split alone."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config, self.stage = config, STAGES[config.scenes]

    def draw(self, number: int, count: int, *, split: Split = "train", seed: int | None = None) -> Batch:
        """Batch `number` of `count` pictures; no two numbers share one. The seed is the run's if none is given."""
        config = self.config
        own = config.seed if seed is None else seed
        if not config.crop_size:
            return draw_batch(self.stage, config.size, number, count, split=split, seed=own)
        return draw_details(
            self.stage, config.size, number, count, texture_share=config.texture_share, split=split, seed=own
        )

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batches of the run from a step on, without end."""
        return batches(lambda step: self.draw(step, self.config.batch_size), first_step)
