"""Owners judge, tag, delete and restore their images; what was deleted long ago goes with its files, nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.jobs.failures import NotFound, TooManyTags
from app.jobs.orphans import remove_orphans
from app.jobs.search import MAX_TAGS, Search, parse
from app.jobs.storage.local import LocalStorage
from app.jobs.store import Image, Opinion
from app.jobs.tables import files, image_tags, images

WEEK_S = 7 * 86_400


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "files")


@pytest.fixture
def publish(bench: Any, storage: LocalStorage) -> Callable[..., tuple[Image, ...]]:
    """Makes the images of one job, with their files."""

    def make(owner: str = "local", **fields: Any) -> tuple[Image, ...]:
        bench.submit(owner=owner, **fields)
        claim = bench.claim()
        outcome = bench.success(claim)
        for image in outcome.images:
            storage.put(image.key, b"picture")
            storage.put(image.thumbnail_key, b"small")
        assert bench.store.finish(claim, outcome)
        made: tuple[Image, ...] = bench.store.get(claim.job_id, owner).images
        return made

    return make


def age(bench: Any, by_s: float) -> None:
    """Let whatever was deleted have been deleted so much earlier."""
    with bench.engine.begin() as connection:
        connection.execute(update(images).values(deleted_at=images.c.deleted_at - by_s))


def listed(bench: Any, query: str = "", *, is_deleted: bool = False) -> list[str]:
    wanted = parse(query)
    page = bench.store.gallery.search("local", Search(wanted.phrases, wanted.filters, is_deleted))
    return [image.id for image in page.items]


def test_what_is_not_said_of_an_image_stays(bench: Any, publish: Callable[..., Any]) -> None:
    (image,) = publish()
    judge = bench.store.gallery.judge
    assert (image.favourite, image.rating, image.tags) == (False, 0, ())

    judged = judge(image.id, "local", Opinion(favourite=True, tags=("snow", "best")))
    assert (judged.favourite, judged.rating, judged.tags) == (True, 0, ("best", "snow"))
    judged = judge(image.id, "local", Opinion(rating=4))
    assert (judged.favourite, judged.rating, judged.tags) == (True, 4, ("best", "snow"))
    judged = judge(image.id, "local", Opinion(favourite=False, rating=0, tags=()))
    assert judged == image
    assert judge(image.id, "local", Opinion()) == bench.store.image(image.id, "local") == image


def test_tags_are_put_on_and_taken_off_many_images(bench: Any, publish: Callable[..., Any]) -> None:
    first, second = publish(num_images=2)
    tag = bench.store.gallery.tag
    assert tag([first.id], "local", add=["a", "b"]) == {first.id}
    assert tag([first.id, second.id], "local", add=["b", "c"], remove=["a"]) == {first.id, second.id}
    assert tag([first.id], "local", add=["b"], remove=["b"]) == {first.id}
    assert [bench.store.image(image.id, "local").tags for image in (first, second)] == [("b", "c"), ("b", "c")]
    assert [image.tags for image in bench.store.get(first.job_id, "local").images] == [("b", "c"), ("b", "c")]


def test_an_image_has_no_more_tags_than_it_may_and_all_or_none_are_tagged(
    bench: Any, publish: Callable[..., Any]
) -> None:
    full, empty = publish(num_images=2)
    every = tuple(f"t{number:02}" for number in range(MAX_TAGS))
    bench.store.gallery.judge(full.id, "local", Opinion(tags=every))
    with pytest.raises(TooManyTags):
        bench.store.gallery.tag([empty.id, full.id], "local", add=["one more"])
    with pytest.raises(TooManyTags):
        bench.store.gallery.judge(empty.id, "local", Opinion(rating=3, tags=(*every, "one more")))
    assert [bench.store.image(image.id, "local").tags for image in (full, empty)] == [every, ()]
    assert bench.store.image(empty.id, "local").rating == 0
    assert bench.store.gallery.tag([full.id], "local", add=["new"], remove=["t00"]) == {full.id}


def test_a_deleted_image_is_seen_nowhere_until_it_is_restored(bench: Any, publish: Callable[..., Any]) -> None:
    gallery = bench.store.gallery
    first, second = publish(num_images=2, prompt="a cat")
    gallery.tag([first.id], "local", add=["t"])
    before = bench.store.image(first.id, "local")

    assert gallery.delete([first.id], "local") == gallery.delete([first.id], "local") == {first.id}

    assert listed(bench) == listed(bench, "cat") == listed(bench, "steps:4") == [second.id]
    assert listed(bench, "tag:t") == []
    assert gallery.tags("local") == []
    assert [image.id for image in bench.store.get(first.job_id, "local").images] == [second.id]
    with pytest.raises(NotFound):
        bench.store.image(first.id, "local")
    with pytest.raises(NotFound):
        gallery.judge(first.id, "local", Opinion(rating=1))
    assert gallery.tag([first.id], "local", add=["x"]) == frozenset()
    assert listed(bench, is_deleted=True) == listed(bench, "cat tag:t", is_deleted=True) == [first.id]

    assert gallery.restore([first.id], "local") == gallery.restore([first.id], "local") == {first.id}

    assert bench.store.image(first.id, "local") == before
    assert listed(bench) == [second.id, first.id]
    assert listed(bench, is_deleted=True) == []


def test_nobody_touches_what_is_somebody_elses(bench: Any, publish: Callable[..., Any]) -> None:
    (theirs,) = publish(owner="bob")
    gallery = bench.store.gallery
    with pytest.raises(NotFound):
        gallery.judge(theirs.id, "local", Opinion(favourite=True))
    assert gallery.tag([theirs.id, "0" * 32], "local", add=["mine"]) == frozenset()
    assert gallery.delete([theirs.id], "local") == gallery.restore([theirs.id], "local") == frozenset()
    assert bench.store.image(theirs.id, "bob") == theirs
    assert gallery.delete([theirs.id], None) == {theirs.id}
    assert gallery.restore([theirs.id], "local") == frozenset()
    assert bench.store.gallery.search("bob").items == ()


def test_a_week_later_a_deleted_image_goes_with_all_that_was_made_of_it_and_nothing_else(
    bench: Any, storage: LocalStorage, publish: Callable[..., Any]
) -> None:
    gone, kept, restored, *_ = publish(num_images=11)
    others = publish()
    large = gone.thumbnail_key.replace("256", "512")
    assert bench.store.gallery.add_file(gone.id, large, "thumbnail")
    storage.put(large, b"larger")
    bench.store.gallery.tag([gone.id], "local", add=["t"])
    bench.store.gallery.delete([gone.id, restored.id], "local")
    before = set(storage.list())

    age(bench, WEEK_S - 60)
    assert remove_orphans(bench.store, storage) == 0
    bench.store.gallery.restore([restored.id], "local")
    age(bench, 60)
    assert remove_orphans(bench.store, storage) == 3

    assert before - set(storage.list()) == {gone.key, gone.thumbnail_key, large}
    assert bench.store.gallery.restore([gone.id], "local") == frozenset()
    assert len(bench.store.get(gone.job_id, "local").images) == 10
    for image in (kept, restored, *others):
        assert bench.store.image(image.id, "local") == image
    with bench.engine.connect() as connection:
        assert connection.execute(select(image_tags)).all() == []
        named = set(connection.execute(select(files.c.key)).scalars())
    assert named == set(storage.list())
    assert remove_orphans(bench.store, storage) == 0


def test_files_whose_deletion_was_cut_off_are_found_by_the_next_sweep(
    bench: Any, storage: LocalStorage, publish: Callable[..., Any]
) -> None:
    (image,) = publish()
    bench.store.gallery.delete([image.id], "local")
    age(bench, WEEK_S)
    assert set(bench.store.gallery.forget()) == {image.key, image.thumbnail_key}
    # Here the process ended.
    assert remove_orphans(bench.store, storage) == 2
    assert list(storage.list()) == []


def test_a_file_made_of_an_image_is_named_before_it_is_written(
    bench: Any, storage: LocalStorage, publish: Callable[..., Any]
) -> None:
    (image,) = publish()
    key = image.thumbnail_key.replace("256", "1024")
    storage.put(key, b"written first")
    assert bench.store.is_orphan(key)
    assert bench.store.gallery.add_file(image.id, key, "thumbnail")
    assert bench.store.gallery.add_file(image.id, key, "thumbnail")
    assert not bench.store.is_orphan(key)
    assert not bench.store.gallery.add_file("0" * 32, "nobody", "thumbnail")


def test_an_image_that_is_restored_while_it_is_removed_stays(
    bench: Any, storage: LocalStorage, publish: Callable[..., Any]
) -> None:
    if bench.engine.dialect.name != "postgresql":
        pytest.skip("SQLite admits one writer")
    (image,) = publish()
    bench.store.gallery.delete([image.id], "local")
    age(bench, WEEK_S)
    with bench.engine.begin() as connection:
        connection.execute(update(images).values(deleted_at=None))
        # Seen as deleted by everybody else, and locked.
        assert bench.store.gallery.forget() == ()
    assert remove_orphans(bench.store, storage) == 0
    assert bench.store.image(image.id, "local") == image
