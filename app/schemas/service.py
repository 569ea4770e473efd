"""The service as it is told: what it offers, and how it is."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field

from app.jobs.catalogue import CatalogueEntry
from app.jobs.store import Worker
from app.schemas.answer import Answer


class ModelOut(CatalogueEntry):
    """A model that may be named, and how many workers serve it now."""

    workers: int
    loaded: int = Field(description="how many of these workers have it in memory now; the others bring it in first")
    is_default: bool
    default_for: list[str] = Field(description="the tasks that use it where a job names no model")

    @classmethod
    def of(cls, entry: CatalogueEntry, workers: Sequence[Worker], defaults: Mapping[str, str]) -> Self:
        """The entry beside what is known of the `workers` alive; `defaults` names the default model of every task."""
        serving = sum(entry.name in worker.models for worker in workers)
        loaded = sum(entry.name in worker.loaded for worker in workers)
        default_for = [task for task, name in defaults.items() if name == entry.name]
        is_default = "text_to_image" in default_for
        return cls(**entry.model_dump(), workers=serving, loaded=loaded, is_default=is_default, default_for=default_for)


class ModelsOut(Answer):
    """Every model that was ever registered, by name."""

    items: list[ModelOut]


class SamplerOut(Answer):
    """A sampler that may be named, and the models that offer it."""

    name: str
    models: list[str]
    default_of: list[str]


class SamplersOut(Answer):
    """Every sampler some model offers, by name."""

    items: list[SamplerOut]


class LiveOut(Answer):
    """The process answers."""

    status: Literal["ok"]


class WorkerOut(Answer):
    """A worker that gave a sign of life lately, and the models it serves."""

    name: str
    models: list[str]


class ReadyOut(Answer):
    """Jobs are accepted; and facts the service can do without for a while."""

    status: Literal["ready"]
    models: list[str]
    redis: bool
    workers: list[WorkerOut]
    queued: int


class VersionOut(Answer):
    """Which service this is."""

    name: str
    version: str
    api: str
