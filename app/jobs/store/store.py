"""The store: the one place that changes a row.  Safe to share between threads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text

from app.jobs.catalogue import CatalogueEntry
from app.jobs.database import Transactions, open_engine
from app.jobs.failures import Reason, StoreUnavailable
from app.jobs.migrations import migrate
from app.jobs.settings import Settings
from app.jobs.spec import Params
from app.jobs.store import claiming, fairness, finishing, inputs, quotas, reading, registering, submitting, sweeping
from app.jobs.store.dialects import Dialects
from app.jobs.store.fairness import Room
from app.jobs.store.gallery import Gallery
from app.jobs.store.inquiries import Inquiries
from app.jobs.store.keyring import Keyring
from app.jobs.store.ledger import Ledger
from app.jobs.store.outcomes import Outcome
from app.jobs.store.quoting import Quotes
from app.jobs.store.records import (
    Beat,
    Blob,
    Claim,
    ClaimBeat,
    Idempotency,
    Image,
    Job,
    Page,
    Priority,
    State,
    Swept,
    Upload,
    Worker,
)
from app.jobs.store.studies import Studies
from app.jobs.store.unneeded import unneeded

__all__ = ["Store", "migrate", "open_store"]


def open_store(settings: Settings) -> "Store":
    """The store of the settings' database.  Nothing is connected yet, and `migrate` must have run some time.

    The beat gets a connection of its own, so that no other work can make a worker lose its leases.
    """
    return Store(open_engine(settings), settings, beats=open_engine(settings, pool_size=1))


class Store:
    """Jobs, images, models, workers and keys.  Every method raises StoreUnavailable while the database is away."""

    def __init__(self, engine: Engine, settings: Settings, beats: Engine | None = None) -> None:
        """Keep everything in `engine`'s database; `beats` is used for beats alone, if given."""
        self._settings = settings
        self._engines = [engine] if beats is None else [engine, beats]
        self._transactions = Transactions(engine)
        self.keys = Keyring(self._transactions, settings)
        self.ledger = Ledger(self._transactions, settings)
        self.dialects = Dialects(self._transactions)
        self.studies = Studies(self._transactions, settings)
        self.gallery = Gallery(self._transactions, settings)
        self.quotes = Quotes(self._transactions, settings)
        self.inquiries = Inquiries(self._transactions, settings)
        self._beats = Transactions(engine if beats is None else beats)

    def close(self) -> None:
        """Close every idle connection; the store can still be used afterwards."""
        for engine in self._engines:
            engine.dispose()

    def ping(self) -> None:
        """Return if the database answers and has its tables."""
        with self._transactions.reading() as connection:
            connection.execute(text("SELECT 1 FROM jobs LIMIT 1"))

    # The front door

    def submit(
        self, params: Params, owner: str, warnings: Sequence[str] = (), *, idempotency: Idempotency | None = None
    ) -> Job:
        """Queue a job, with the pictures it is made from, and commit it; the caller rings afterwards.

        With the `idempotency` of an earlier submit, its job is returned and nothing is queued.
        Raises: TooCostly; QuotaReached; QueueFull; InputGone; IdempotencyConflict.
        """
        expected = self.quotes.expected(params, owner)
        with self._transactions.writing() as connection:
            return submitting.submit(connection, params, owner, warnings, idempotency, self._settings, expected)

    def made_before(self, owner: str, idempotency: Idempotency) -> Job | None:
        """The job that this very request made; None if none did.  Raises: IdempotencyConflict."""
        with self._transactions.reading() as connection:
            return submitting.made_before(connection, owner, idempotency)

    def cancel(self, job_id: str, owner: str | None) -> Job:
        """End a queued job, ask a running one to end; asking again changes nothing.

        Once this returns, no image of the job will ever be published.
        Raises: NotFound; NotCancellable if the job has succeeded or failed.
        """
        with self._transactions.writing() as connection:
            return submitting.cancel(connection, job_id, owner)

    def get(self, job_id: str, owner: str | None) -> Job:
        """One job with its images; anybody's where no owner is named.  Raises: NotFound."""
        with self._transactions.reading() as connection:
            return reading.job(connection, job_id, owner)

    def jobs(
        self,
        owner: str | None,
        state: State | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        task: str | None = None,
    ) -> Page[Job]:
        """The owner's jobs, newest first; internal ones only where their task is named.  Raises: BadCursor."""
        with self._transactions.reading() as connection:
            return reading.jobs(connection, owner, state, task, limit, cursor)

    def image(self, image_id: str, owner: str | None) -> Image:
        """One published image that was not deleted.  Raises: NotFound."""
        return self.gallery.image(image_id, owner)

    def images(self, owner: str | None, limit: int = 20, cursor: str | None = None) -> Page[Image]:
        """The owner's images, newest first.  Raises: BadCursor."""
        return self.gallery.search(owner, limit=limit, cursor=cursor)

    def queue_length(self) -> int:
        """How many jobs are queued, all owners together."""
        with self._transactions.reading() as connection:
            return reading.queue_length(connection)

    # The worker

    def claim_next(
        self,
        worker: str,
        models: Sequence[str],
        *,
        loaded: Sequence[str] = (),
        swap_cost: float = 0.0,
        alone: bool = True,
        priorities: Sequence[Priority] = tuple(Priority),
        busy_for: Sequence[str] = (),
        fingerprint: str | None = None,
    ) -> Claim | None:
        """Take the job that is next, due, and for some of `models`; None if there is none.

        Jobs for models that are not `loaded` have their turn as late as if they cost `swap_cost` more.  `alone`
        says that the worker has nothing else in hand; otherwise it gets no job that must run alone.  It gets none
        of other `priorities`, and none of the owners that it is `busy_for`.  Jobs that are for workers of one
        `fingerprint` go to no other.
        """
        room = Room(models, loaded, swap_cost, alone, priorities, busy_for, fingerprint)
        with self._transactions.writing() as connection:
            return claiming.claim_next(connection, worker, room, self._settings)

    def is_solo_next(self, models: Sequence[str], fingerprint: str | None = None) -> bool:
        """Whether the job that is next for `models` is one that must run alone, so that room is to be made for it."""
        with self._transactions.writing() as connection:
            return fairness.is_solo_next(connection, Room(models, fingerprint=fingerprint), self._settings.starvation_s)

    def beat(self, worker: str, claims: Sequence[ClaimBeat]) -> Beat:
        """Renew the leases of all claims and write their progress, in one UPDATE."""
        if not claims:
            return Beat(lost=frozenset(), cancelled=frozenset())
        with self._beats.writing() as connection:
            return claiming.beat(connection, claims, self._settings.lease_s)

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """End the claim's job with `outcome`; the commit is the publication of its images.

        Returns whether the job ended so.  False: the claim was lost, or a cancel came first and the job is
        cancelled; either way nothing was published and the claim is over.  After an error, call it again.
        Raises: StoreUnavailable if the database could not even be asked how it ended.
        """
        try:
            with self._transactions.writing() as connection:
                if finishing.finish(connection, claim, outcome):
                    return True
        except StoreUnavailable:
            # The COMMIT may have happened although its answer never came: the row knows.
            with self._transactions.reading() as connection:
                if finishing.is_still_held(connection, claim):
                    raise
        with self._transactions.reading() as connection:
            return finishing.has_ended_so(connection, claim, outcome)

    def give_back(self, claim: Claim, reason: Reason) -> bool:
        """Return a running job to the queue through no fault of its own; its attempt does not count.

        It is cancelled instead if that was asked, and failed if it came back too often.
        Returns whether the claim was still held.
        """
        with self._transactions.writing() as connection:
            return claiming.give_back(connection, claim, reason, self._settings)

    # Any process

    def sweep(self) -> Swept:
        """End or requeue the jobs whose lease has run out, fail those that no worker wants."""
        with self._transactions.writing() as connection:
            return sweeping.sweep(connection, self._settings)

    def orphans(self, keys: Iterable[str]) -> set[str]:
        """Those of the files `keys`, of jobs, blobs and studies, that no row needs now or ever will again."""
        with self._transactions.reading() as connection:
            return unneeded(connection, keys, self._settings.unpinned_s)

    def is_orphan(self, key: str) -> bool:
        """Whether no row needs this job file now or ever will again."""
        return key in self.orphans([key])

    # Pictures that jobs are made from (`app.jobs.blobs` says in which order)

    def new_blob_key(self, sha256: str) -> str:
        """Where to write a blob's file: a key that nobody ever had."""
        with self._transactions.reading() as connection:
            return inputs.new_blob_key(connection, sha256)

    def find_blob(self, sha256: str) -> Blob | None:
        """The blob of these bytes, kept for a while from now on; None if there is none."""
        with self._transactions.writing() as connection:
            return inputs.find_blob(connection, sha256)

    def add_blob(self, blob: Blob) -> Blob:
        """Say that a blob's file lies there; the answer is another one if somebody else was first."""
        with self._transactions.writing() as connection:
            return inputs.add_blob(connection, blob, self._settings.unpinned_s)

    def check_upload(self, owner: str, size_bytes: int) -> None:
        """Return if so much more fits into what `owner` may upload.  Raises: QuotaReached."""
        with self._transactions.reading() as connection:
            quotas.check_upload(connection, owner, size_bytes, self._settings)

    def add_upload(self, sha256: str, owner: str) -> Upload:
        """Let `owner` name a blob, for as long as the settings say.  Raises: InputGone; QuotaReached."""
        with self._transactions.writing() as connection:
            return inputs.add_upload(connection, sha256, owner, self._settings)

    def has_uploaded(self, sha256: str, owner: str) -> bool:
        """Whether an upload of `owner`'s that has not expired names this blob."""
        with self._transactions.reading() as connection:
            return inputs.has_uploaded(connection, sha256, owner)

    def upload(self, upload_id: str, owner: str) -> Upload:
        """One upload that has not expired.  Raises: NotFound."""
        with self._transactions.reading() as connection:
            return inputs.upload(connection, upload_id, owner)

    def inputs(self, job_id: str) -> dict[str, str]:
        """Where the pictures lie that a job is made from, by role."""
        with self._transactions.reading() as connection:
            return inputs.keys_of(connection, job_id)

    def free_blobs(self) -> tuple[str, ...]:
        """Forget expired uploads, and some blobs that nothing needs; returns the keys of the files to delete."""
        with self._transactions.writing() as connection:
            inputs.forget_uploads(connection)
            return inputs.free_blobs(connection, self._settings.unpinned_s)

    # The catalogue

    def register_model(self, worker: str, entry: CatalogueEntry) -> None:
        """Say that `worker` serves a model; its name is accepted from now on, even without the worker."""
        with self._transactions.writing() as connection:
            registering.register_model(connection, worker, entry)

    def worker_beat(self, worker: str, facts: Mapping[str, Any]) -> None:
        """Say that `worker` is alive, and what it says of itself (JSON)."""
        with self._beats.writing() as connection:
            registering.worker_beat(connection, worker, facts)

    def worker_left(self, worker: str) -> None:
        """Forget a worker that ends in peace; its models stay in the catalogue."""
        with self._transactions.writing() as connection:
            registering.worker_left(connection, worker)

    def workers_alive(self) -> list[Worker]:
        """The workers that gave a sign of life within the last lease."""
        with self._transactions.reading() as connection:
            return registering.workers_alive(connection, self._settings.lease_s)

    def catalogue(self) -> list[CatalogueEntry]:
        """Every model ever registered, by name, whether or not a worker serves it now."""
        with self._transactions.reading() as connection:
            return registering.catalogue(connection)

    def known_models(self) -> list[str]:
        """The names in the catalogue."""
        return [entry.name for entry in self.catalogue()]

    def model(self, name: str) -> CatalogueEntry:
        """One model of the catalogue.  Raises: UnknownModel; CatalogueEmpty if there is none at all."""
        return registering.find_model(self.catalogue(), name)
