"""Short words for what most tests of the store begin with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, insert, select, update

from app.jobs.columns import database_now
from app.jobs.database import open_engine
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.store import Claim, Job, Priority, PublishedImage, Store, Succeeded
from app.jobs.tables import jobs, models, workers

OWNER = "local"
WORKER = "worker-1"


@dataclass(frozen=True)
class Bench:
    """A store, and the hands that put it into a certain state."""

    store: Store
    engine: Engine
    make_params: Callable[..., TextToImageParams]

    def submit(self, owner: str = OWNER, priority: Priority = Priority.NORMAL, **fields: object) -> Job:
        return self.store.submit(self.make_params(priority=priority.value, **fields), owner)

    def fill(self, count: int, owner: str, **values: object) -> None:
        """Queue very many jobs of one size at once, as `submit` would one after the other."""
        first = self.submit(owner=owner)
        with self.engine.begin() as connection:
            row = dict(connection.execute(select(jobs).where(jobs.c.id == first.id)).mappings().one())
            del row["number"]
            rows = []
            places = [
                {"id": f"{n:08x}{first.id[8:]}", "start_tag": row["tag"] + (n - 1) * row["cost"]}
                for n in range(1, count)
            ]
            rows = [row | place | {"tag": place["start_tag"] + row["cost"]} | values for place in places]
            connection.execute(insert(jobs), rows)

    def claim(self, worker: str = WORKER) -> Claim:
        claim = self.store.claim_next(worker, ["storybook"])
        assert claim is not None
        return claim

    def submit_and_claim(self, **fields: object) -> Claim:
        job = self.submit(**fields)
        claim = self.claim()
        assert claim.job_id == job.id
        return claim

    def job(self, job: Job | Claim) -> Job:
        return self.store.get(job.id if isinstance(job, Job) else job.job_id, OWNER)

    def write(self, job: Job | Claim, **values: object) -> None:
        """Change a row behind the store's back."""
        job_id = job.id if isinstance(job, Job) else job.job_id
        with self.engine.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))

    def let_lease_run_out(self, claim: Claim) -> None:
        self.write(claim, lease_until=database_now() - 0.001)

    def silence_workers(self, for_s: float) -> None:
        """Let every worker's last sign of life be `for_s` older than it is."""
        with self.engine.begin() as connection:
            connection.execute(update(models).values(served_at=models.c.served_at - for_s))
            connection.execute(update(workers).values(seen_at=workers.c.seen_at - for_s))

    def success(self, claim: Claim) -> Succeeded:
        """An outcome with all the pictures of the job, as the worker would publish it."""
        images = tuple(
            PublishedImage(
                index=index,
                seed=claim.params.seed + index,
                width=claim.params.width,
                height=claim.params.height,
                sha256=f"{index:064x}",
                size_bytes=1000 + index,
                key=f"{claim.job_id}/{claim.attempt}-{index}.png",
                thumbnail_key=f"{claim.job_id}/{claim.attempt}-{index}.thumb256.webp",
            )
            for index in range(claim.params.num_images)
        )
        timings = {"text_s": 0.1, "denoise_s": 2.0, "decode_s": 0.3, "encode_s": 0.05}
        return Succeeded(images, timings, model_revision="r1", fingerprint="cpu-test")


@pytest.fixture
def bench(store: Store, settings: Settings, make_params: Callable[..., TextToImageParams]) -> Iterator[Bench]:
    """The store of `settings` with its hands."""
    engine = open_engine(settings)
    yield Bench(store, engine, make_params)
    engine.dispose()
