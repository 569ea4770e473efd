"""The models that are offered, warm when they are needed: which device, which dtype, how many threads, how much memory,
and what the catalogue is told of them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.settings import Settings
from app.jobs.spec import TASKS
from models import (
    ModelCard,
    ModelError,
    Pipeline,
    Row,
    SuperResolution,
    Survey,
    TextToImage,
    bundled_models,
    find_models,
    load_pipeline,
    survey_model,
)
from worker import arithmetic
from worker.engine import AllHere, rows_that_pay
from worker.machine import available_cpus, choose_device, choose_dtype, fingerprint_of
from worker.memory import budget_of
from worker.residency import CannotLoad, Residency, Resident

log = structlog.get_logger()

# Of how many measured steps the shortest counts.
TRIES = 3


class NothingToServe(Exception):
    """No model could be loaded, or not the default one; the text says what was looked for and where."""


class Studio:
    """The models that are offered, by name; `open` finds them, and warms as many as there is room for."""

    def __init__(
        self,
        offered: Mapping[str, Pipeline | Resident],
        device: torch.device,
        dtype: torch.dtype,
        residency: Residency | AllHere | None = None,
    ) -> None:
        """Offer these, which live on `device` and compute in `dtype`; without a `residency` they are always here."""
        self._offered: dict[str, Pipeline | Resident] = dict(offered)
        self._device = device
        self.residency = AllHere(*offered) if residency is None else residency
        self.max_rows = 1
        fingerprint = fingerprint_of(device, dtype)
        self.entries: Sequence[CatalogueEntry] = [catalogue_entry(model, fingerprint) for model in offered.values()]
        self.facts: Mapping[str, Any] = {
            "pid": os.getpid(),
            "host": platform.node(),
            "device": str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "fingerprint": fingerprint,
        }

    @staticmethod
    def open(settings: Settings) -> Studio:
        """Offer the bundled models and those of `models_dir`, and warm those for which there is room together.

        A model that cannot be loaded is left out, and said; the default model must be there.
        Raises: NothingToServe; NoSuchDevice.
        """
        arithmetic.pin()
        torch.set_num_threads(available_cpus() if settings.threads is None else settings.threads)
        device = choose_device(settings.device)
        dtype = choose_dtype(settings.dtype, device)
        budget_bytes = budget_of(settings.model_memory, str(device))
        # By the name it gives itself, which is the one that jobs know it by.
        surveys: dict[str, tuple[str | Path, Survey]] = {}
        for source in find_sources(settings.models_dir):
            try:
                survey = survey_model(source)
                _check_size(survey, dtype, budget_bytes)
            except (ModelError, OSError) as error:
                log.error("model.refused", source=str(source), error=str(error))
            else:
                surveys[survey.card.name] = source, survey

        # Every name from the beginning: a beat may be reading it.
        costs_s: dict[str, float | None] = dict.fromkeys(surveys)

        def load(name: str) -> Pipeline:
            source, survey = surveys[name]
            pipeline, costs_s[name] = _load_warm(source, survey.card, device, dtype)
            return pipeline

        residency = Residency(budget_bytes, load, _give_memory_back)
        residents = [Resident(survey, _size_bytes(survey, dtype), residency) for _, survey in surveys.values()]
        offered = {resident.card.name: resident for resident in _warm(residents, settings.default_model, residency)}
        studio = Studio(offered, device, dtype, residency)
        with offered[settings.default_model].using() as pipeline:
            studio.max_rows = settings.max_rows or measure_rows(pipeline)
        studio.facts = {**studio.facts, "cost_s": costs_s}
        log.info("studio.rows", max_rows=studio.max_rows, is_measured=settings.max_rows is None)
        return studio

    def pipeline(self, name: str) -> Pipeline | Resident:
        """The model of this name, in memory or not. Raises: KeyError."""
        return self._offered[name]

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether the device had too little memory."""
        # The CPU's allocator has no error class of its own, only a sentence.
        is_cpu_allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
        return is_cpu_allocator or isinstance(error, (torch.OutOfMemoryError, MemoryError))

    def is_lost(self, error: Exception) -> bool:
        """Whether the device answers nothing any more: after some errors of a GPU every call fails, for ever."""
        try:
            torch.zeros(1, device=self._device).cpu()
        except RuntimeError as refusal:
            return not self.is_out_of_memory(refusal)
        return False


def find_sources(models_dir: Path | None) -> list[str | Path]:
    """What to load: the bundled models by name, then the model folders in `models_dir`, which may replace them.

    Raises: NothingToServe if `models_dir` is given and is no folder.
    """
    if models_dir is None:
        return [*bundled_models()]
    if not models_dir.is_dir():
        raise NothingToServe(f"the models folder must be a folder that exists, got {str(models_dir)!r}")
    return [*bundled_models(), *find_models(models_dir).values()]


def catalogue_entry(model: Pipeline | Resident, fingerprint: str) -> CatalogueEntry:
    """What the catalogue is told of a model: of its tasks those that jobs can ask for."""
    card = model.card
    enlarges = "super_resolution" in card.tasks
    return CatalogueEntry(
        name=card.name,
        revision=card.revision,
        tasks=[task for task in card.tasks if task in TASKS],
        native_width=card.native_width,
        native_height=card.native_height,
        min_side=card.min_side,
        max_side=card.max_side,
        multiple=card.multiple,
        samplers=list(card.samplers),
        defaults=ModelDefaults(
            steps=card.default_steps, guidance_scale=card.default_guidance_scale, sampler=card.default_sampler
        ),
        parameters=card.parameters,
        licence=card.licence,
        scale=model.factor if enlarges else None,
        vocabulary={kind: list(words) for kind, words in card.vocabulary.items()} or None,
        examples=list(card.examples),
        fingerprint=fingerprint,
    )


def measure_rows(pipeline: Pipeline) -> int:
    """How many images a step should take on this pipeline's device: the largest number that pays.

    A CPU gains nothing from a second image in a step, and shows progress and answers a cancel later for it.
    """
    if pipeline.device.type == "cpu":
        return 1
    return rows_that_pay(partial(step_seconds, pipeline))


def step_seconds(pipeline: Pipeline, num_rows: int) -> float:
    """How long one step of so many images takes, at best. Raises: MemoryError if the device has too little."""
    try:
        rows = pipeline.begin(replace(_trial(pipeline), num_images=num_rows, num_steps=TRIES + 1))
        # The first step of a size prepares what the others use.
        pipeline.step(rows)
        return min(_timed_step(pipeline, rows) for _ in range(TRIES))
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error


def _timed_step(pipeline: Pipeline, rows: Sequence[Row]) -> float:
    started = time.perf_counter()
    pipeline.step(rows)
    # A device is done when it can say what it has computed.
    rows[-1].latents.flatten()[0].item()
    return time.perf_counter() - started


def _trial(pipeline: Pipeline) -> TextToImage | SuperResolution:
    """A small piece of work of the kind that the model is made for."""
    if "super_resolution" not in pipeline.card.tasks:
        return TextToImage(prompt="", num_steps=2)
    side = pipeline.card.native_width // pipeline.autoencoder.config.factor
    return SuperResolution(image=np.zeros((side, side, 3), np.uint8), num_steps=2)


def _size_bytes(survey: Survey, dtype: torch.dtype) -> int:
    return survey.numbers * dtype.itemsize


def _check_size(survey: Survey, dtype: torch.dtype, budget_bytes: int) -> None:
    size_bytes = _size_bytes(survey, dtype)
    if size_bytes > budget_bytes:
        raise ModelError(
            f"{survey.card.name} takes {size_bytes / 2**20:.0f} MiB, and DARKROOM_MODEL_MEMORY leaves models "
            f"{budget_bytes / 2**20:.0f} MiB"
        )


def _warm(residents: Sequence[Resident], default_model: str, residency: Residency) -> list[Resident]:
    """Bring in the default model, then whatever else there is room for; all but those that cannot be loaded.

    Raises: NothingToServe if the default model is not among them.
    """
    offered: list[Resident] = []
    for resident in sorted(residents, key=lambda resident: resident.card.name != default_model):
        is_first = not offered
        try:
            if is_first or residency.held_bytes + resident.size_bytes <= residency.budget_bytes:
                resident.bring()
        except CannotLoad as error:
            log.error("model.refused", model=error.name, error=str(error.__cause__))
        else:
            offered.append(resident)
    names = [resident.card.name for resident in offered]
    if default_model not in names:
        raise NothingToServe(
            f"the default model must be one that can be loaded ({', '.join(names) or 'there is none'}), "
            f"got {default_model!r}"
        )
    return offered


def _load_warm(
    source: str | Path, card: ModelCard, device: torch.device, dtype: torch.dtype
) -> tuple[Pipeline, float]:
    """Load a pipeline and take it through every stage once, in two steps: the first call of each is the slow one.

    Beside it, the seconds of the second step for each pixel of the picture.
    Raises: CannotLoad, also if it is not what `card` says any more.
    """
    started = time.perf_counter()
    try:
        pipeline = load_pipeline(source, device=device, dtype=dtype)
    except (ModelError, OSError) as error:
        raise CannotLoad(card.name) from error
    if pipeline.card != card:
        # What the catalogue was told of it, and what the recipes of its pictures say, would be wrong.
        raise CannotLoad(card.name) from ModelError(f"{source} has changed since this worker began to offer it")
    loaded = time.perf_counter()
    rows = pipeline.begin(_trial(pipeline))
    step_s = 0.0
    while not rows[0].is_done:
        step_s = _timed_step(pipeline, rows)
    x0 = rows[0].x0
    if x0 is not None:
        pipeline.preview(x0)
    pipeline.finish(rows[0])
    log.info(
        "model.warm",
        model=pipeline.card.name,
        device=str(device),
        load_s=round(loaded - started, 3),
        warm_up_s=round(time.perf_counter() - loaded, 3),
    )
    return pipeline, step_s / (card.native_width * card.native_height)


def _give_memory_back() -> None:
    """Return what was let go to the system, which allocators would rather keep for the next time."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
