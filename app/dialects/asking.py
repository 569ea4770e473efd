"""Queueing what a dialect's client wants, once also if it asks again, and waiting with it until the job has ended.

A client that leaves never cancels: it may come back for what it asked for.
"""

import asyncio
import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request

from app import desk
from app.deps import House, Pass
from app.dialects.pictures import Shape
from app.dialects.sizing import made_size, written
from app.errors import Unavailable
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import StoreUnavailable
from app.jobs.spec import AboutImage, Given, PictureParams, Wish
from app.jobs.store import Idempotency, Job, new_key

# How old the job may be that a client means who asks again.
AGAIN_S: Final = 900.0

# How long a client that has left may go unnoticed.
_LOOK_S: Final = 5.0


class Left(Exception):
    """The client has gone; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants, translated, and the pictures it sent for that, by role.

    `said` is everything it said, in its own words: with the pictures, what makes two orders one.
    """

    wish: Wish
    said: dict[str, Any]
    given: Mapping[str, Given] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of what it said and sent."""
        sent = {role: given.sha256 for role, given in self.given.items()}
        return hashlib.sha256(json.dumps([self.said, sent], sort_keys=True).encode()).hexdigest()


def place(house: House, dialect: str, order: Order, owner: str, *, again: bool = False) -> Job:
    """Queue the order; if the client asks `again`, the job it asked for before, if that is not too old.

    Raises: what `desk.submit` raises.
    """
    idempotency = Idempotency(new_key(dialect), order.sha256, AGAIN_S if again else 0.0)
    # Workers are told at once: the client hears nothing before they are done.
    return desk.submit_once(house, order.wish, owner, lambda tell, *of: tell(*of), idempotency, order.given)


async def ended(house: House, job: Job, shown: Pass, request: Request | None = None) -> Job:
    """The job when it has ended, however long that takes.

    Raises: Left if the client of the `request` does not wait for it; Unauthorized once what it has `shown` lets
    nobody in; Unavailable if the service stops before.
    """
    while not job.state.is_terminal:
        if request is not None and await request.is_disconnected():
            raise Left
        if house.watch.is_closing:
            raise Unavailable("The service stops just now; the job goes on when it is back.")
        try:
            job = await house.watch.change(job, shown, until_done=True, wait_s=_LOOK_S)
        except StoreUnavailable:
            # Nothing is lost by a database that is away for a while.
            await asyncio.sleep(1)
    return job


def params_of(job: Job) -> PictureParams:
    """The recipe of the job's pictures; dialects make no other jobs than such as have one of their own."""
    return job.params.recipe if isinstance(job.params, AboutImage) else job.params


def headers_of(job: Job, shape: Shape) -> dict[str, str]:
    """What a client may want to know and has no other place for: who made its pictures, and how large they were."""
    params = params_of(job)
    developed, made = (params.width, params.height), made_size(params)
    # A header holds less than a folder's name may.
    model = quote(job.model, safe=string.punctuation + " ")
    said = {"X-Darkroom-Job": job.id, "X-Darkroom-Model": model, "X-Darkroom-Developed": written(developed)}
    said |= {} if made == developed else {"X-Darkroom-Upscaled": written(made)}
    if shape.size is not None and shape.size != made:
        said["X-Darkroom-Scaled"] = written(shape.size)
    return said


HEADERS: Final = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in {
        "X-Darkroom-Job": "the job, for /api/v1/jobs/{id}",
        "X-Darkroom-Model": "the model that was used, percent-encoded where it is no ASCII",
        "X-Darkroom-Developed": "the size that the model was asked for",
        "X-Darkroom-Upscaled": "the size an upscaler made of it, if one did",
        "X-Darkroom-Scaled": "the size it was scaled to, if it was",
    }.items()
}
"""What `headers_of` may say, for the description of the API."""


def model_for(house: House, name: str | None, task: str) -> CatalogueEntry:
    """The model of that name if it offers the task; else the default one, whatever the client calls it.

    Raises: CatalogueEmpty; SpecError if no model offers the task; StoreUnavailable.
    """
    named = (entry for entry in house.store.catalogue() if entry.name == name and task in entry.tasks)
    return next(named, None) or desk.default_model(house, task)
