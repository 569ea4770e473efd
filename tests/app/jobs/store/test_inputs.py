"""What a job is made from stays as long as the job does; what nothing needs goes, and nothing else."""

import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from app.jobs import blobs as keeping
from app.jobs.columns import database_now
from app.jobs.failures import InputGone, NotFound, StoreUnavailable
from app.jobs.orphans import remove_orphans
from app.jobs.pictures import Picture
from app.jobs.spec import Given, Params, read_params
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Blob, Store, inputs, open_store
from app.jobs.tables import blobs, job_inputs, jobs, uploads

HOUR_S = 3600.0
DAY_S = 86_400.0


def picture(text: str = "a cat") -> Picture:
    """Something to keep; nothing here looks into it."""
    data = text.encode()
    return Picture(data, Given(hashlib.sha256(data).hexdigest(), 100, 50, frozenset({"white"})))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "files").as_uri())


@pytest.fixture
def made_from(make_params: Callable[..., Any]) -> Callable[..., Params]:
    """Makes the params of a job that is made from these blobs."""

    def make(image: str, mask: str | None = None) -> Params:
        own = {"image": f"sha256:{image}", "strength": 0.5, "fit": "cover"}
        common = make_params().model_dump(exclude={"upscale", "upscaler"}) | own
        if mask is None:
            return read_params(common | {"task": "image_to_image"})
        more = {"mask": f"sha256:{mask}", "mask_mode": "white", "feather": 0, "developed_pixels": 1}
        return read_params(common | more | {"task": "inpaint"})

    return make


def pass_time(bench: Any, seconds: float) -> None:
    """Let everything that was touched, and will expire, be so much older."""
    with bench.engine.begin() as connection:
        connection.execute(update(blobs).values(touched_at=blobs.c.touched_at - seconds))
        connection.execute(update(uploads).values(expires_at=uploads.c.expires_at - seconds))


def rows(bench: Any, table: Any) -> int:
    with bench.engine.connect() as connection:
        return len(connection.execute(select(table)).all())


def test_a_kept_picture_lies_where_its_row_says(store: Store, storage: Storage) -> None:
    blob = keeping.keep(store, storage, picture())
    assert storage.get(blob.key) == b"a cat"
    assert blob.key.startswith(f"blobs/{picture().given.sha256}-")
    assert (blob.given, blob.size_bytes) == (picture().given, 5)
    assert store.find_blob(blob.sha256) == blob


def test_the_same_picture_is_kept_once(store: Store, storage: Storage) -> None:
    assert keeping.keep(store, storage, picture()) == keeping.keep(store, storage, picture())
    assert len(list(storage.list("blobs/"))) == 1


def test_of_two_who_keep_the_same_picture_at_once_one_file_stays(store: Store, storage: Storage) -> None:
    class Slow:
        """A storage in which somebody else is always a little faster."""

        def __getattr__(self, name: str) -> Any:
            return getattr(storage, name)

        def put(self, key: str, data: bytes) -> None:
            storage.put(key, data)
            if not list(storage.list("blobs/"))[1:]:
                keeping.keep(store, storage, picture())

    blob = keeping.keep(store, Slow(), picture())  # type: ignore[arg-type]
    assert list(storage.list("blobs/")) == [blob.key]
    assert storage.get(blob.key) == b"a cat"


def test_a_job_pins_its_pictures_and_its_claim_says_where_they_lie(
    bench: Any, storage: Storage, made_from: Callable[..., Params]
) -> None:
    image, mask = (keeping.keep(bench.store, storage, picture(text)) for text in ("image", "mask"))
    job = bench.store.submit(made_from(image.sha256, mask.sha256), "local")
    claim = bench.claim()
    assert claim.job_id == job.id
    assert dict(claim.inputs) == {"image": image.key, "mask": mask.key}
    assert claim.params.inputs == {"image": image.sha256, "mask": mask.sha256}
    assert {claim: "hashable"}


def test_one_picture_may_be_both_image_and_mask(bench: Any, storage: Storage, made_from: Callable[..., Params]) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    bench.store.submit(made_from(blob.sha256, blob.sha256), "local")
    assert dict(bench.claim().inputs) == {"image": blob.key, "mask": blob.key}


def test_a_job_without_its_picture_is_not_queued(bench: Any, made_from: Callable[..., Params]) -> None:
    with pytest.raises(InputGone, match="the image is not stored any more"):
        bench.store.submit(made_from("c" * 64), "local")
    assert bench.store.queue_length() == 0


def test_what_a_job_is_made_from_stays_whatever_becomes_of_the_upload(
    bench: Any, storage: Storage, made_from: Callable[..., Params]
) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    bench.store.add_upload(blob.sha256, "local")
    bench.store.submit(made_from(blob.sha256), "local")
    pass_time(bench, 2 * DAY_S)
    assert remove_orphans(bench.store, storage) == 0
    assert rows(bench, uploads) == 0
    # queued, running, ended, and once more
    claim = bench.claim()
    assert storage.get(claim.inputs["image"]) == b"a cat"
    assert bench.store.finish(claim, bench.success(claim))
    pass_time(bench, 2 * DAY_S)
    remove_orphans(bench.store, storage)
    bench.store.submit(claim.params, "local")
    assert storage.get(bench.claim().inputs["image"]) == b"a cat"


def test_the_database_itself_refuses_to_forget_a_picture_that_is_pinned(
    bench: Any, storage: Storage, made_from: Callable[..., Params]
) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    bench.store.submit(made_from(blob.sha256), "local")
    with pytest.raises(IntegrityError), bench.engine.begin() as connection:
        connection.execute(delete(blobs))


def test_a_picture_that_nothing_needs_goes_after_an_hour_and_no_sooner(bench: Any, storage: Storage) -> None:
    keeping.keep(bench.store, storage, picture())
    pass_time(bench, HOUR_S - 60)
    assert remove_orphans(bench.store, storage) == 0
    assert list(storage.list())
    pass_time(bench, 61)
    assert remove_orphans(bench.store, storage) == 1
    assert list(storage.list()) == []
    assert rows(bench, blobs) == 0


def test_a_picture_that_is_kept_again_has_its_hour_again(bench: Any, storage: Storage) -> None:
    keeping.keep(bench.store, storage, picture())
    pass_time(bench, HOUR_S + 1)
    blob = keeping.keep(bench.store, storage, picture())
    assert remove_orphans(bench.store, storage) == 0
    assert storage.get(blob.key) == b"a cat"


def test_an_upload_is_its_owners_until_it_expires(bench: Any, storage: Storage) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    upload = bench.store.add_upload(blob.sha256, "ann")
    assert bench.store.upload(upload.id, "ann") == upload
    assert upload.blob == blob
    with pytest.raises(NotFound):
        bench.store.upload(upload.id, "bob")
    pass_time(bench, DAY_S - 60)
    assert remove_orphans(bench.store, storage) == 0
    assert bench.store.upload(upload.id, "ann").blob == blob
    pass_time(bench, 61)
    # It has expired before anybody swept it.
    with pytest.raises(NotFound):
        bench.store.upload(upload.id, "ann")
    assert remove_orphans(bench.store, storage) == 1


def test_two_uploads_of_one_picture_need_it_both(bench: Any, storage: Storage) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    bench.store.add_upload(blob.sha256, "ann")
    pass_time(bench, DAY_S / 2)
    kept = bench.store.add_upload(blob.sha256, "bob")
    pass_time(bench, DAY_S / 2 + 1)
    assert remove_orphans(bench.store, storage) == 0
    assert storage.get(bench.store.upload(kept.id, "bob").blob.key) == b"a cat"


def test_a_job_that_is_gone_pins_nothing(bench: Any, storage: Storage, made_from: Callable[..., Params]) -> None:
    blob = keeping.keep(bench.store, storage, picture())
    bench.store.submit(made_from(blob.sha256), "local")
    with bench.engine.begin() as connection:
        connection.execute(delete(jobs))
    assert rows(bench, job_inputs) == 0
    pass_time(bench, HOUR_S + 1)
    assert remove_orphans(bench.store, storage) == 1


def test_more_than_fit_into_one_transaction_go_all_the_same(
    bench: Any, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_AT_ONCE", 2)
    for index in range(5):
        keeping.keep(bench.store, storage, picture(f"cat {index}"))
    pass_time(bench, HOUR_S + 1)
    assert remove_orphans(bench.store, storage) == 5
    assert list(storage.list()) == []


# Processes that die, and sweeps that come in between


def aged(key: str, seconds: int) -> str:
    """The key, as if it had been made so long ago."""
    sha256, made_at, token = key.rsplit("-", 2)
    return f"{sha256}-{int(made_at, 16) - seconds:09x}-{token}"


def test_a_file_without_a_row_goes_after_an_hour_and_no_sooner(bench: Any, storage: Storage, tmp_path: Path) -> None:
    key = bench.store.new_blob_key("d" * 64)
    old = aged(key, 3700)
    for each in (key, old):
        storage.put(each, b"whoever wrote this died before its row")
        (tmp_path / "files" / f"{each}.tmp").write_bytes(b"or while writing")
    assert remove_orphans(bench.store, storage) == 2
    assert [*storage.list(), *storage.unfinished()] == [key, f"{key}.tmp"]


def test_a_file_whose_row_went_is_an_orphan_if_the_sweeper_died_in_between(bench: Any, storage: Storage) -> None:
    old = Blob(picture().given, aged(bench.store.new_blob_key(picture().given.sha256), 3700), 5)
    storage.put(old.key, b"a cat")
    row = {"sha256": old.sha256, "key": old.key, "width": 1, "height": 1, "size_bytes": 5, "marks": []}
    with bench.engine.begin() as connection:
        connection.execute(blobs.insert().values(**row, touched_at=database_now() - 3700))
    assert bench.store.free_blobs() == (old.key,)
    # and here it dies; another one comes
    assert remove_orphans(bench.store, storage) == 1
    assert list(storage.list()) == []


def test_a_row_is_not_written_so_late_that_its_file_may_be_gone(bench: Any) -> None:
    late = Blob(picture().given, aged(bench.store.new_blob_key(picture().given.sha256), 1900), 5)
    with pytest.raises(StoreUnavailable):
        bench.store.add_blob(late)
    assert rows(bench, blobs) == 0


class Interrupting:
    """A storage that lets something happen just before it deletes."""

    def __init__(self, storage: Storage, happens: Callable[[], object]) -> None:
        self._storage = storage
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def delete(self, key: str) -> None:
        self._happens()
        self._storage.delete(key)


def test_a_job_that_comes_between_the_row_and_the_file_of_a_sweep_keeps_its_picture(
    bench: Any, storage: Storage, made_from: Callable[..., Params]
) -> None:
    sha256 = keeping.keep(bench.store, storage, picture()).sha256
    pass_time(bench, HOUR_S + 1)
    came: list[str] = []

    def comes() -> None:
        if not came:
            keeping.keep(bench.store, storage, picture())
            came.append(bench.store.submit(made_from(sha256), "local").id)

    assert remove_orphans(bench.store, Interrupting(storage, comes)) == 1  # type: ignore[arg-type]
    claim = bench.claim()
    assert [claim.job_id] == came
    assert storage.get(claim.inputs["image"]) == b"a cat"
    assert remove_orphans(bench.store, storage) == 0


@pytest.fixture
def hasty(settings: Any) -> Iterator[Store]:
    """A store that frees what nothing needs at once, so that every moment is the worst."""
    store = open_store(settings.model_copy(update={"unpinned_s": 0.001}))
    yield store
    store.close()


def remove(bench: Any, job_id: str) -> None:
    """Delete the row of a job, however long somebody else holds the lock."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with bench.engine.begin() as connection:
                connection.execute(delete(jobs).where(jobs.c.id == job_id))
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_no_job_is_ever_accepted_whose_picture_a_sweep_takes(
    bench: Any, hasty: Store, storage: Storage, made_from: Callable[..., Params]
) -> None:
    is_over = Event()
    freed = 0
    # Whatever may come between a row and its file has the time to; now one side is the faster, now the other.
    moments = cycle((0.0, 0.01, 0.1))
    slow: Any = Interrupting(storage, lambda: time.sleep(next(moments)))

    def sweeps() -> None:
        nonlocal freed
        while not is_over.is_set():
            freed += keeping.free(hasty, slow)
            # Two processes that wait for one lock of SQLite's poll for it, and one that never rests wins.
            time.sleep(0.005)

    sweeper = Thread(target=sweeps)
    sweeper.start()
    accepted: list[str] = []
    deadline = time.monotonic() + 60
    try:
        for index in count():
            if index >= 24 and freed and accepted:
                break
            assert time.monotonic() < deadline, "the sweeper never came in between"
            blob = keeping.keep(bench.store, storage, picture(f"cat {index // 4}"))
            # A moment in which nothing needs it.
            time.sleep(0.002 * (index % 5))
            try:
                job = bench.store.submit(made_from(blob.sha256), "local")
            except InputGone:
                continue
            accepted.append(job.id)
            # Half of them go again, and their pictures with them if nobody else wants them.
            if index % 2:
                remove(bench, accepted.pop())
    finally:
        is_over.set()
        sweeper.join()
    claims = [bench.store.claim_next("worker-1", ["storybook"]) for _ in accepted]
    for claim in claims:
        assert claim.inputs.keys() == {"image"}
        assert storage.get(claim.inputs["image"]).startswith(b"cat ")
