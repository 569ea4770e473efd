"""The files that a job is made from, out of the storage."""

from __future__ import annotations

import hashlib

import structlog

from app.jobs.failures import NoSuchFile, Reason, StorageError
from app.jobs.storage import Storage
from worker.leases import Lease
from worker.publishing import LOST, Publication

log = structlog.get_logger()


def fetch(storage: Storage, lease: Lease, publication: Publication) -> dict[str, bytes] | None:
    """The job's files by role, each of them what it was to the last bit; None if the job is over.

    It has failed if one is gone; it is given back if the storage is away.
    """
    claim = lease.claim
    pictures = {}
    for role, sha256 in (claim.params.inputs | claim.params.stored).items():
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
