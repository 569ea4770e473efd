"""Every transition of a job, each one transaction.  `Store` opens the transactions; what happens in them
lies in one module a role:

    submitting   the front door: submit, cancel
    fairness     the order in which jobs are taken, between owners and priorities
    claiming     the worker while it holds a job: claim, beat, give back
    finishing    the worker's last word about an attempt, and how a lost answer is read back
    sweeping     any process, every few seconds: what nobody else will do any more
    dialects     jobs of clients who name neither a key nor a job
    inputs       pictures that jobs are made from: blobs, pins, uploads
    reading      jobs, images, positions; changes nothing
    quoting      when jobs will start and finish, and what is expected of a job that is queued
    searching    images that are looked for;  keeping  what their owners do with them;
                 gallery  the store's part that shows and keeps them
    inquiries    jobs about images that are there already
    registering  models and workers: the catalogue
    admitting    principals and their keys;  sessions  keys that a browser was shown once
    quotas       how much a principal may ask for;  keyring  the store's part that keeps all three
    tallying     what is counted for ever;  measuring  what the metrics say;  pruning  what is too old;
                 ledger  the store's part that keeps the books
    studying     blind studies, their raters and answers;  studies  the store's part that keeps them
    records      the frozen facts that go in and out;  outcomes  a worker's last word
"""

from app.jobs.store.admitting import LOCAL, Key, NewKey, Principal
from app.jobs.store.dialects import new_key
from app.jobs.store.outcomes import Answered, Cancelled, Failed, Outcome, PublishedImage, Succeeded
from app.jobs.store.quotas import Limits
from app.jobs.store.quoting import Place
from app.jobs.store.records import (
    Beat,
    Blob,
    Claim,
    ClaimBeat,
    Idempotency,
    Image,
    Job,
    JobFailure,
    Opinion,
    Page,
    Priority,
    Progress,
    State,
    Swept,
    Timings,
    TrajectoryPart,
    Upload,
    Worker,
)
from app.jobs.store.registering import find_model
from app.jobs.store.sessions import NewSession
from app.jobs.store.store import Store, migrate, open_store

__all__ = [
    "LOCAL",
    "Answered",
    "Beat",
    "Blob",
    "Cancelled",
    "Claim",
    "ClaimBeat",
    "Failed",
    "Idempotency",
    "Image",
    "Job",
    "JobFailure",
    "Key",
    "Limits",
    "NewKey",
    "NewSession",
    "Opinion",
    "Outcome",
    "Page",
    "Place",
    "Principal",
    "Priority",
    "Progress",
    "PublishedImage",
    "State",
    "Store",
    "Succeeded",
    "Swept",
    "Timings",
    "TrajectoryPart",
    "Upload",
    "Worker",
    "find_model",
    "migrate",
    "new_key",
    "open_store",
]
