"""Pixels as files, and the commit that publishes them."""

import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from redis import Redis

from app.jobs import recipe
from app.jobs.failures import ErrorCode, NotFound, StorageError, StoreUnavailable
from app.jobs.recipe import NoRecipe, Recipe
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Failed, State, Store
from worker import publishing
from worker.engine import Seconds
from worker.leases import Ending, Lease, Leases
from worker.products import encode, thumbnail
from worker.publishing import Publication, Publisher
from worker.reporting import Reporter

NOISE = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
GREY = np.full((96, 64, 3), 128, np.uint8)
PUBLISHED = Seconds(text_s=0.1, denoise_s=2.0, decode_s=0.3)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


# Files


def test_png_keeps_every_pixel(make_params: Callable[..., TextToImageParams]) -> None:
    assert np.array_equal(np.asarray(opened(encode(NOISE, make_params(), None))), NOISE)


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_the_recipe_is_in_the_file_if_it_is_wanted(make_params: Callable[..., TextToImageParams], format: str) -> None:
    params = make_params(format=format)
    data = encode(GREY, params, Recipe.of(params, 0, "r1"))
    assert opened(data).format == format.upper()
    assert recipe.read(data) == Recipe.of(params, 0, "r1")
    with pytest.raises(NoRecipe):
        recipe.read(encode(GREY, params, None))


@pytest.mark.parametrize("format", ["webp", "jpeg"])
def test_quality_is_what_was_asked_for(make_params: Callable[..., TextToImageParams], format: str) -> None:
    low, high = (encode(NOISE, make_params(format=format, quality=quality), None) for quality in (10, 95))
    assert len(low) * 2 < len(high)


def test_equal_pixels_are_equal_files(make_params: Callable[..., TextToImageParams]) -> None:
    params = make_params()
    assert encode(NOISE, params, None) == encode(NOISE.copy(), params, None)


@pytest.mark.parametrize(("size", "small"), [((1024, 512), (256, 128)), ((64, 96), (64, 96)), ((256, 256), (256, 256))])
def test_a_thumbnail_fits_into_its_square_and_never_grows(size: tuple[int, int], small: tuple[int, int]) -> None:
    width, height = size
    picture = opened(thumbnail(np.zeros((height, width, 3), np.uint8)))
    assert (picture.format, picture.size) == ("WEBP", small)


# The row


class Desk:
    """A publisher at work on one claimed job of two images."""

    def __init__(self, settings: Settings, store: Store, storage: Storage, redis: Redis, lease_of: Leases) -> None:
        self.leases = lease_of
        self.store = store
        self.storage = storage
        self.reporter = Reporter(redis)
        self.publisher = Publisher(store, storage, self.leases, self.reporter)
        self.publisher.start()
        self.reporter.start()

    def open(self, params: TextToImageParams) -> tuple[Lease, Publication]:
        job_id = self.store.submit(params, "local").id
        claim = self.store.claim_next("worker-1", [params.model])
        assert claim is not None
        assert claim.job_id == job_id
        lease = self.leases.take(claim, params.steps)
        return lease, self.publisher.open(lease, "r1", "cpu-test")

    def finish(self) -> None:
        assert self.publisher.stop(60)
        assert self.reporter.stop(60)


@pytest.fixture
def desk(settings: Settings, store: Store, redis_connection: Redis) -> Iterator[Desk]:
    storage = open_storage(settings.resolved_storage_url)
    desk = Desk(settings, store, storage, redis_connection, Leases(on_release=lambda: None))
    yield desk
    desk.publisher.stop(60)
    desk.reporter.stop(60)


def test_a_publication_is_a_commit_of_all_images_in_order(
    desk: Desk, make_params: Callable[..., TextToImageParams]
) -> None:
    lease, publication = desk.open(make_params(num_images=2))
    publication.add(1, 8, NOISE)
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    desk.finish()
    job = desk.store.get(lease.claim.job_id, "local")
    assert job.state is State.SUCCEEDED
    assert [(image.index, image.seed, image.width, image.height) for image in job.images] == [
        (0, 7, 64, 96),
        (1, 8, 64, 96),
    ]
    assert job.timings is not None
    assert (job.timings.text_s, job.timings.denoise_s, job.timings.decode_s) == (0.1, 2.0, 0.3)
    assert job.timings.encode_s > 0
    assert len(desk.leases) == 0


def test_a_publication_that_is_not_finished_is_not_seen(
    desk: Desk, make_params: Callable[..., TextToImageParams]
) -> None:
    lease, publication = desk.open(make_params(num_images=2))
    publication.add(0, 7, GREY)
    publication.fail(Failed(ErrorCode.NON_FINITE, "no picture"))
    desk.finish()
    job = desk.store.get(lease.claim.job_id, "local")
    assert (job.state, job.images) == (State.FAILED, ())
    assert desk.store.images("local").items == ()


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.LOST])
def test_nothing_is_written_for_a_lease_that_has_ended(
    desk: Desk, make_params: Callable[..., TextToImageParams], ending: Ending
) -> None:
    lease, publication = desk.open(make_params())
    lease.end(ending)
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    desk.finish()
    assert list(desk.storage.list()) == []
    job = desk.store.get(lease.claim.job_id, "local")
    assert job.images == ()
    assert job.state is (State.CANCELLED if ending is Ending.CANCELLED else State.RUNNING)
    assert len(desk.leases) == 0


def test_a_storage_that_fails_gives_the_job_back(
    desk: Desk, make_params: Callable[..., TextToImageParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(key: str, data: bytes) -> None:
        raise StorageError(f"the storage failed at {key!r}: Input/output error")

    monkeypatch.setattr(publishing, "STORAGE_RETRIES_S", (0.01,))
    monkeypatch.setattr(desk.storage, "put", broken)
    lease, publication = desk.open(make_params())
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    desk.finish()
    job = desk.store.get(lease.claim.job_id, "local")
    assert (job.state, job.infra_failures) == (State.QUEUED, 1)


def test_a_picture_that_cannot_be_encoded_fails_the_job(
    desk: Desk, make_params: Callable[..., TextToImageParams]
) -> None:
    lease, publication = desk.open(make_params())
    publication.add(0, 7, np.zeros((4, 4, 7), np.uint8))
    publication.publish(PUBLISHED)
    desk.finish()
    job = desk.store.get(lease.claim.job_id, "local")
    assert job.error is not None
    assert (job.state, job.error.code) == (State.FAILED, ErrorCode.INTERNAL)


def test_a_store_that_is_away_is_asked_again_until_it_is_back(
    desk: Desk, make_params: Callable[..., TextToImageParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "STORE_RETRY_S", 0.01)
    refusals, settled, finish = [1, 2, 3], threading.Event(), desk.store.finish

    def away(*arguments: object) -> bool:
        if refusals:
            refusals.pop()
            raise StoreUnavailable("the database did not answer")
        answer = finish(*arguments)
        settled.set()
        return answer

    monkeypatch.setattr(desk.store, "finish", away)
    lease, publication = desk.open(make_params())
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    assert settled.wait(60)
    desk.finish()
    assert desk.store.get(lease.claim.job_id, "local").state is State.SUCCEEDED


def test_a_lease_that_is_lost_while_the_store_is_away_ends_the_asking(
    desk: Desk, make_params: Callable[..., TextToImageParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "STORE_RETRY_S", 0.01)
    asked = threading.Event()

    def away(*arguments: object) -> bool:
        asked.set()
        raise StoreUnavailable("the database did not answer")

    monkeypatch.setattr(desk.store, "finish", away)
    lease, publication = desk.open(make_params())
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    assert asked.wait(60)
    lease.end(Ending.LOST)
    done = threading.Event()
    desk.publisher.do(done.set)
    assert done.wait(60)
    assert len(desk.leases) == 0


def test_a_worker_that_stops_does_not_wait_for_a_store_that_is_away(
    desk: Desk, make_params: Callable[..., TextToImageParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "STORE_RETRY_S", 3600.0)
    asked = threading.Event()

    def away(*arguments: object) -> bool:
        asked.set()
        raise StoreUnavailable("the database did not answer")

    monkeypatch.setattr(desk.store, "finish", away)
    _, publication = desk.open(make_params())
    publication.add(0, 7, GREY)
    publication.publish(PUBLISHED)
    assert asked.wait(60)
    assert desk.publisher.stop(60)
    assert len(desk.leases) == 0


def test_an_error_that_nobody_thought_of_costs_the_job_its_lease_and_nobody_else_anything(
    desk: Desk, make_params: Callable[..., TextToImageParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = desk.store.finish

    def strange(*arguments: object) -> bool:
        monkeypatch.setattr(desk.store, "finish", finish)
        raise NotFound("the row is gone")

    monkeypatch.setattr(desk.store, "finish", strange)
    _, publication = desk.open(make_params())
    next_lease, next_publication = desk.open(make_params())
    for each in (publication, next_publication):
        each.add(0, 7, GREY)
        each.publish(PUBLISHED)
    desk.finish()
    assert len(desk.leases) == 0
    assert desk.store.get(next_lease.claim.job_id, "local").state is State.SUCCEEDED
