"""The pictures that a job is made from, out of the storage."""

from __future__ import annotations

import hashlib

import structlog

from app.jobs.failures import ErrorCode, NoSuchFile, Reason, StorageError
from app.jobs.storage import Storage
from app.jobs.store import Failed
from worker.leases import Lease
from worker.publishing import Publication

log = structlog.get_logger()

LOST = Failed(ErrorCode.INPUT_LOST, ErrorCode.INPUT_LOST.message)


def fetch(storage: Storage, lease: Lease, publication: Publication) -> dict[str, bytes] | None:
    """The job's pictures by role, each of them what was submitted to the last bit; None if the job is over.

    It has failed if a picture is gone; it is given back if the storage is away.
    """
    claim = lease.claim
    pictures = {}
    for role, sha256 in claim.params.inputs.items():
        try:
            data = storage.get(claim.inputs[role])
        except (KeyError, NoSuchFile):
            data = b""
        except StorageError as error:
            log.warning("storage.failed", job_id=claim.job_id, error=str(error))
            lease.end(Reason.STORAGE)
            publication.abandon()
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            log.error("input.lost", job_id=claim.job_id, role=role, key=claim.inputs.get(role))
            publication.fail(LOST)
            return None
        pictures[role] = data
    return pictures
