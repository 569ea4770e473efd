"""What it takes to queue or cancel a job, and to sweep, said once for the API, the pages and every dialect.

The row is committed first; only then workers are told, best effort: a sweep finds what nobody heard.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app import intake
from app.deps import House
from app.jobs import events
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import CatalogueEmpty, SpecError
from app.jobs.queue import ring, ring_if_silent
from app.jobs.spec import (
    TASKS,
    Given,
    InternalParams,
    Params,
    TextToImage,
    Wish,
    draw_seed,
    resolve,
    scales_of,
    warnings_of,
)
from app.jobs.store import Idempotency, Job, Place, State, find_model
from app.jobs.vocabulary import warnings_for

# Nothing that a quote says depends on it.
NO_SEED = 0

Later = Callable[..., Any]
"""Calls a function after the response is sent: a Redis that hangs must not hold up an answer."""


def submit(house: House, wish: Wish, owner: str, later: Later, idempotency_key: str | None = None) -> Job:
    """Queue what `wish` says, gaps filled and the seed drawn now, so that a retry repeats the picture.

    The same wish with the same key, if there is one, is queued once.
    Raises: CatalogueEmpty; UnknownModel; SpecError; InputGone; QueueFull; IdempotencyConflict; StoreUnavailable;
    StorageError.
    """
    return submit_once(
        house, wish, owner, later, None if idempotency_key is None else Idempotency(idempotency_key, digest(wish))
    )


def submit_once(
    house: House,
    wish: Wish,
    owner: str,
    later: Later,
    idempotency: Idempotency | None,
    given: Mapping[str, Given] | None = None,
) -> Job:
    """The same, where a dialect says what makes two requests one.

    Pictures that are `given`, by role, are those that the wish is about, whatever it calls them.
    """
    # Asked first: what the wish was made of (an upload, a model) may be gone by the time it is sent again.
    if idempotency is not None and (known := house.store.made_before(owner, idempotency)):
        return known
    entry = model_for(house, wish)
    given = intake.fetch(house, wish, owner) if given is None else given
    params = resolve(wish, entry, draw_seed(), given, _upscaler_for(house, wish))
    # What is made larger is there already: words only describe it.
    about_words = [] if wish.task == "super_resolution" else warnings_for(params.prompt, entry)
    warnings = [*about_words, *warnings_of(wish, params, given)]
    return queue(house, params, owner, later, warnings, idempotency)


def quote(house: House, wish: Wish, owner: str) -> tuple[Params, Place]:
    """What `wish` would be resolved to and where in the queue it would be; nothing is queued, drawn or stored.

    Raises: CatalogueEmpty; UnknownModel; SpecError; TooCostly; StoreUnavailable; StorageError.
    """
    entry = model_for(house, wish)
    params = resolve(wish, entry, NO_SEED, intake.look_at(house, wish, owner), _upscaler_for(house, wish))
    return params, house.store.quotes.of(params, owner)


def queue(
    house: House,
    params: Params,
    owner: str,
    later: Later,
    warnings: Sequence[str] = (),
    idempotency: Idempotency | None = None,
) -> Job:
    """Queue a complete recipe.  Raises: InputGone; QueueFull; IdempotencyConflict; StoreUnavailable."""
    job = house.store.submit(params, owner, warnings, idempotency=idempotency)
    later(ring, house.redis)
    return job


def ask(house: House, params: InternalParams, owner: str, later: Later) -> Job:
    """Queue a job about an image, unless the same is under way.  Raises: InputGone; QueueFull; StoreUnavailable."""
    job = house.store.inquiries.ask(params, owner)
    later(ring, house.redis)
    return job


def digest(wish: Wish) -> str:
    """What tells two wishes apart: all they say, however it was written, and nothing that is filled in later."""
    canonical = json.dumps(wish.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def cancel(house: House, job_id: str, owner: str | None, later: Later) -> Job:
    """Cancel a queued job, or ask a running one to end.

    Raises: NotFound; NotCancellable; StoreUnavailable.
    """
    job = house.store.cancel(job_id, owner)
    if job.state is State.CANCELLED:
        later(events.publish_done, house.redis, job.id, job.state)
    else:
        later(events.publish_cancel, house.redis, job.id)
    return job


def model_for(house: House, wish: Wish) -> CatalogueEntry:
    """The model that `wish` names, or the default one.  Raises: CatalogueEmpty; UnknownModel; SpecError."""
    if wish.model is None:
        return default_model(house, wish.task)
    catalogue = house.store.catalogue()
    entry = find_model(catalogue, wish.model)
    if wish.task not in entry.tasks:
        able = [each.name for each in catalogue if wish.task in each.tasks]
        raise SpecError("model", wish.model, f"must be one that offers {wish.task}: {', '.join(able) or 'none does'}")
    return entry


def _upscaler_for(house: House, wish: Wish) -> CatalogueEntry | None:
    """The model that makes larger what `wish` wants developed: the default one; None if there is none, or no need."""
    if not isinstance(wish, TextToImage) or wish.upscale == 1:
        return None
    return default_models(house).get("super_resolution")


def upscales(house: House) -> list[int]:
    """How many times as large a picture from words may be made in its job, 1 left out.  Raises: CatalogueEmpty."""
    upscaler = default_models(house).get("super_resolution")
    return [] if upscaler is None or upscaler.scale is None else [s for s in scales_of(upscaler.scale) if s in (2, 4)]


def default_model(house: House, task: str) -> CatalogueEntry:
    """The model that was chosen if it offers the task; else the first that does.

    Raises: CatalogueEmpty; SpecError.
    """
    defaults = default_models(house)
    if task not in defaults:
        raise SpecError("task", task, f"must be one that a model here offers: {', '.join(defaults)}")
    return defaults[task]


def default_models(house: House) -> dict[str, CatalogueEntry]:
    """The default model of every task that any model offers.  Raises: CatalogueEmpty."""
    catalogue = house.store.catalogue()
    if not catalogue:
        raise CatalogueEmpty("no worker has registered a model yet")
    # The one that was chosen first: sorting keeps the others in their order.
    chosen = house.store.ledger.default_model()
    catalogue.sort(key=lambda entry: entry.name != chosen)
    able = {task: [entry for entry in catalogue if task in entry.tasks] for task in TASKS}
    return {task: entries[0] for task, entries in able.items() if entries}


def sweep(house: House) -> None:
    """Do what no worker will do any more, tell whoever watches, and learn for quotes.  Raises: StoreUnavailable."""
    swept = house.store.sweep()
    for job_id in swept.requeued:
        events.publish_state(house.redis, job_id, State.QUEUED)
    for job_id in swept.failed:
        events.publish_done(house.redis, job_id, State.FAILED)
    for job_id in swept.cancelled:
        events.publish_done(house.redis, job_id, State.CANCELLED)
    if swept.ring:
        ring_if_silent(house.redis)
    # Last: what a quote could not learn must hold up no job.
    house.store.quotes.learn()
