"""What it takes to queue or cancel a job, and to sweep, said once for the API, the pages and every dialect.

The row is committed first; only then workers are told, best effort: a sweep finds what nobody heard.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from app.deps import House
from app.jobs import events
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import UnknownModel
from app.jobs.queue import ring, ring_if_silent
from app.jobs.spec import TextToImage, TextToImageParams, draw_seed, resolve
from app.jobs.store import Idempotency, Job, State

Later = Callable[..., Any]
"""Calls a function after the response is sent: a Redis that hangs must not hold up an answer."""


def submit(house: House, wish: TextToImage, owner: str, later: Later, idempotency_key: str | None = None) -> Job:
    """Queue what `wish` says, gaps filled and the seed drawn now, so that a retry repeats the picture.

    The same wish with the same key, if there is one, is queued once.
    Raises: CatalogueEmpty; UnknownModel; SpecError; QueueFull; IdempotencyConflict; StoreUnavailable.
    """
    idempotency = None if idempotency_key is None else Idempotency(idempotency_key, digest(wish))
    return queue(house, resolve(wish, model_for(house, wish), draw_seed()), owner, later, idempotency)


def queue(
    house: House, params: TextToImageParams, owner: str, later: Later, idempotency: Idempotency | None = None
) -> Job:
    """Queue a complete recipe.  Raises: QueueFull; IdempotencyConflict; StoreUnavailable."""
    job = house.store.submit(params, owner, idempotency=idempotency)
    later(ring, house.redis)
    return job


def digest(wish: TextToImage) -> str:
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


def model_for(house: House, wish: TextToImage) -> CatalogueEntry:
    """The model that `wish` names, or the default one.  Raises: CatalogueEmpty; UnknownModel."""
    if wish.model is not None:
        return house.store.model(wish.model)
    return default_model(house)


def default_model(house: House) -> CatalogueEntry:
    """The model of the settings; where no worker ever offered that one, the first there is.

    Raises: CatalogueEmpty.
    """
    try:
        return house.store.model(house.settings.default_model)
    except UnknownModel as error:
        return house.store.model(error.known[0])


def sweep(house: House) -> None:
    """Do what no worker will do any more, and tell whoever watches.  Raises: StoreUnavailable."""
    swept = house.store.sweep()
    for job_id in swept.requeued:
        events.publish_state(house.redis, job_id, State.QUEUED)
    for job_id in swept.failed:
        events.publish_done(house.redis, job_id, State.FAILED)
    for job_id in swept.cancelled:
        events.publish_done(house.redis, job_id, State.CANCELLED)
    if swept.ring:
        ring_if_silent(house.redis)
