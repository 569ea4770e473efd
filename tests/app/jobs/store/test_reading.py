"""Jobs and images as their owner sees them."""

from typing import Any

import pytest

from app.jobs.failures import BadCursor, NotFound
from app.jobs.store import State, Store, open_store


def publish(bench: Any, **fields: Any) -> Any:
    claim = bench.submit_and_claim(**fields)
    assert bench.store.finish(claim, bench.success(claim))
    return bench.job(claim)


def test_jobs_are_listed_newest_first_page_by_page(bench: Any) -> None:
    submitted = [bench.submit().id for _ in range(5)]
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = bench.store.jobs("local", limit=2, cursor=cursor)
        seen += [job.id for job in page.items]
        sizes.append(len(page.items))
        cursor = page.next
        if cursor is None:
            break

    assert seen == submitted[::-1]
    assert sizes == [2, 2, 1]


def test_a_page_that_ends_exactly_at_the_last_job_has_no_next(bench: Any) -> None:
    for _ in range(2):
        bench.submit()

    assert bench.store.jobs("local", limit=2).next is None


def test_jobs_that_come_meanwhile_do_not_shift_the_pages(bench: Any) -> None:
    old = [bench.submit().id for _ in range(3)]
    first = bench.store.jobs("local", limit=2)
    bench.submit()

    second = bench.store.jobs("local", limit=2, cursor=first.next)

    assert [job.id for job in first.items + second.items] == old[::-1]


def test_jobs_are_listed_by_state_and_task(bench: Any) -> None:
    cancelled, queued = bench.submit(), bench.submit()
    bench.store.cancel(cancelled.id, "local")

    assert [job.id for job in bench.store.jobs("local", state=State.QUEUED).items] == [queued.id]
    assert [job.id for job in bench.store.jobs("local", state="cancelled").items] == [cancelled.id]
    assert len(bench.store.jobs("local", task="text_to_image").items) == 2
    assert bench.store.jobs("local", task="inpaint").items == ()


def test_everybody_sees_only_their_own(bench: Any) -> None:
    job = publish(bench)
    bench.submit(owner="bob")

    assert [row.owner for row in bench.store.jobs("bob").items] == ["bob"]
    assert bench.store.images("bob").items == ()
    with pytest.raises(NotFound):
        bench.store.get(job.id, "bob")
    with pytest.raises(NotFound):
        bench.store.image(job.images[0].id, "bob")


def test_an_unknown_id_is_not_found(bench: Any) -> None:
    for strange in ("0" * 32, "", "'; DROP TABLE jobs; --", "ü" * 500):
        with pytest.raises(NotFound):
            bench.store.get(strange, "local")
        with pytest.raises(NotFound):
            bench.store.image(strange, "local")


@pytest.mark.parametrize("cursor", ["", "abc", "-1", "1.5", "١٢", "9" * 19, " 1", "1\n"])
def test_a_strange_cursor_is_refused(bench: Any, cursor: str) -> None:
    with pytest.raises(BadCursor):
        bench.store.jobs("local", cursor=cursor)
    with pytest.raises(BadCursor):
        bench.store.images("local", cursor=cursor)


def test_a_listed_job_has_its_images_in_order(bench: Any) -> None:
    job = publish(bench, num_images=3)
    bench.submit()

    queued, listed = bench.store.jobs("local").items

    assert queued.images == ()
    assert listed == job
    assert [image.index for image in listed.images] == [0, 1, 2]


def test_images_are_listed_newest_first_with_their_recipe(bench: Any) -> None:
    first = publish(bench, prompt="a house")
    second = publish(bench, prompt="a cat", num_images=2, format="webp")

    page = bench.store.images("local", limit=2)
    rest = bench.store.images("local", limit=2, cursor=page.next)

    assert [image.params.prompt for image in page.items + rest.items] == ["a cat", "a cat", "a house"]
    assert [image.format for image in page.items] == ["webp", "webp"]
    assert rest.items == first.images
    assert rest.next is None
    assert bench.store.image(second.images[1].id, "local") == second.images[1]


def test_the_position_counts_the_queued_jobs_before(bench: Any) -> None:
    running, gone, second, third = (bench.submit() for _ in range(4))
    assert bench.claim().job_id == running.id
    bench.store.cancel(gone.id, "local")

    assert bench.store.quotes.position(bench.job(running)) is None
    assert bench.store.quotes.position(bench.job(gone)) is None
    assert bench.store.quotes.position(second) == 0
    assert bench.store.quotes.position(third) == 1
    assert bench.store.queue_length() == 2


def test_a_store_opened_again_knows_everything(bench: Any, settings: Any) -> None:
    job = publish(bench)

    reopened: Store = open_store(settings)

    assert reopened.get(job.id, "local") == job
    reopened.close()
