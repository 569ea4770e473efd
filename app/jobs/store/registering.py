"""Models and workers: what the front door knows of them is what they said."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from app.jobs.catalogue import CatalogueEntry
from app.jobs.columns import database_now
from app.jobs.failures import CatalogueEmpty, UnknownModel
from app.jobs.store.records import Worker
from app.jobs.store.rows import upsert
from app.jobs.tables import models, served_models, workers


def register_model(connection: Connection, worker: str, entry: CatalogueEntry) -> None:
    """Write the model's newest entry, and that this worker serves it."""
    seen = {"name": worker, "seen_at": database_now()}
    upsert(connection, workers, seen, only_if_new={"facts": {}})
    told = {"revision": entry.revision, "entry": entry.model_dump(mode="json"), "served_at": database_now()}
    upsert(connection, models, {"name": entry.name} | told)
    upsert(connection, served_models, {"worker": worker, "model": entry.name})


def worker_beat(connection: Connection, worker: str, facts: Mapping[str, Any]) -> None:
    """Write that the worker lives, and with it that its models are served."""
    upsert(connection, workers, {"name": worker, "seen_at": database_now(), "facts": dict(facts)})
    served = select(served_models.c.model).where(served_models.c.worker == worker)
    # Locked by name: workers that serve the same models would else lock each other out.
    names = select(models.c.name).where(models.c.name.in_(served)).order_by(models.c.name).with_for_update()
    locked = connection.execute(names).scalars().all()
    connection.execute(update(models).where(models.c.name.in_(locked)).values(served_at=database_now()))


def worker_left(connection: Connection, worker: str) -> None:
    """Remove the worker's row and what it served; nothing happens if it is gone already."""
    connection.execute(delete(workers).where(workers.c.name == worker))


def workers_alive(connection: Connection, silence_s: float) -> list[Worker]:
    """The workers seen within `silence_s`, by name."""
    serves: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(served_models).order_by(served_models.c.model)):
        serves[row.worker].append(row.model)
    alive = select(workers).where(workers.c.seen_at >= database_now() - silence_s).order_by(workers.c.name)
    return [
        Worker(row.name, tuple(serves[row.name]), row.facts, datetime.fromtimestamp(row.seen_at, UTC))
        for row in connection.execute(alive)
    ]


def catalogue(connection: Connection) -> list[CatalogueEntry]:
    """Every model's newest entry, by name."""
    entries = connection.execute(select(models.c.entry).order_by(models.c.name)).scalars()
    return [CatalogueEntry.model_validate(entry) for entry in entries]


def find_model(entries: Sequence[CatalogueEntry], name: str) -> CatalogueEntry:
    """The entry of that name.  Raises: CatalogueEmpty; UnknownModel naming those there are."""
    if not entries:
        raise CatalogueEmpty("no worker has registered a model yet")
    for entry in entries:
        if entry.name == name:
            return entry
    raise UnknownModel(name, [entry.name for entry in entries])
