"""Rows by the thousand, without the work: copies of one that was really made or queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Table, insert, select

from app.jobs.database import open_engine
from app.jobs.spec import Params, TextToImage, resolve
from app.jobs.store import Claim, PublishedImage, Succeeded
from app.jobs.tables import files, images, jobs
from bench.sleeper import ENTRY
from bench.stack import Stack

NOBODY = "nobody"
"""The worker that is said to have made them."""

TIMINGS = {"text_s": 0.01, "denoise_s": 0.5, "decode_s": 0.02, "encode_s": 0.003}
AT_ONCE = 5_000


def make_images(service: Stack, count: int) -> None:
    """Let there be so many images, each of a job that has succeeded: copies of one that is really made."""
    engine = open_engine(service.settings)
    with engine.begin() as connection:
        have = connection.execute(select(images.c.number).order_by(images.c.number.desc()).limit(1)).scalar() or 0
    if not have:
        _make_one(service)
        have = 1
    with engine.connect() as connection:
        model = {table.name: _last(connection, table) for table in (jobs, files, images)}
    for first in range(have, count, AT_ONCE):
        copies = [_copy(model) for _ in range(first, min(count, first + AT_ONCE))]
        with engine.begin() as connection:
            connection.execute(insert(jobs), [copy["jobs"] for copy in copies])
            connection.execute(insert(files), [copy["files"] for copy in copies])
            connection.execute(insert(images), [copy["images"] for copy in copies])
    engine.dispose()


def _make_one(service: Stack) -> None:
    store = service.store
    store.register_model(NOBODY, ENTRY)
    job = store.submit(_params(), "local")
    claim = store.claim_next(NOBODY, [ENTRY.name])
    if claim is None or claim.job_id != job.id:
        raise RuntimeError("somebody else works here")
    store.finish(claim, _outcome(claim))


def _params() -> Params:
    return resolve(TextToImage(task="text_to_image", prompt="a fox in the snow"), ENTRY, seed=7)


def _outcome(claim: Claim) -> Succeeded:
    picture = PublishedImage(
        index=0,
        seed=7,
        width=128,
        height=128,
        sha256="0" * 64,
        size_bytes=1000,
        key=f"{claim.job_id}/1-0.png",
        thumbnail_key=f"{claim.job_id}/1-0.thumb256.webp",
    )
    return Succeeded((picture,), TIMINGS, model_revision="r1", fingerprint="bench")


def _last(connection: Connection, table: Table) -> dict[str, Any]:
    return dict(connection.execute(select(table)).mappings().first() or {})


def _copy(model: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of one more image like the one there is."""
    job_id, key = uuid4().hex, uuid4().hex
    job = {name: value for name, value in model["jobs"].items() if name != "number"} | {"id": job_id}
    image = {name: value for name, value in model["images"].items() if name != "number"}
    image |= {"id": uuid4().hex, "job_id": job_id, "key": key, "thumbnail_key": key}
    # They are written as a sequence, and read as the text that is searched.
    image["words"] = str(image["words"]).split()
    return {"jobs": job, "files": {**model["files"], "key": key, "job_id": job_id}, "images": image}


def queue_jobs(service: Stack, count: int) -> None:
    """Let so many jobs wait, as submits would leave them."""
    model_id = service.store.submit(_params(), "local").id
    engine = open_engine(service.settings)
    with engine.begin() as connection:
        row = dict(connection.execute(select(jobs).where(jobs.c.id == model_id)).mappings().one())
        del row["number"]
        missing = range(1, count - service.store.queue_length() + 1)
        starts = [row["tag"] + number * row["cost"] for number in missing]
        rows = [row | {"id": uuid4().hex, "start_tag": start, "tag": start + row["cost"]} for start in starts]
        if rows:
            connection.execute(insert(jobs), rows)
    engine.dispose()
