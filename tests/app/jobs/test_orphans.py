"""The sweep of files removes what a lost attempt left, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.jobs.orphans import remove_orphans
from app.jobs.spec import TextToImageParams
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Cancelled, Claim, PublishedImage, Store, Succeeded


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "files").as_uri())


def write_and_claim(
    store: Store, storage: Storage, make_params: Callable[..., TextToImageParams]
) -> tuple[Claim, Succeeded]:
    """A running job whose picture is written but not published."""
    store.submit(make_params(), "local")
    claim = store.claim_next("worker-1", ["storybook"])
    assert claim is not None
    key, thumbnail = f"{claim.job_id}/1-0.png", f"{claim.job_id}/1-0.thumb256.webp"
    storage.put(key, b"picture")
    storage.put(thumbnail, b"small picture")
    image = PublishedImage(0, 7, 128, 128, "0" * 64, 7, key, thumbnail)
    timings = {"text_s": 0.0, "denoise_s": 0.0, "decode_s": 0.0, "encode_s": 0.0}
    return claim, Succeeded((image,), timings, "r1", "cpu-test")


def test_a_published_picture_is_never_removed(
    store: Store, storage: Storage, make_params: Callable[..., TextToImageParams]
) -> None:
    claim, outcome = write_and_claim(store, storage, make_params)
    assert remove_orphans(store, storage) == 0
    store.finish(claim, outcome)

    assert remove_orphans(store, storage) == 0

    assert len(list(storage.list())) == 2


def test_the_pictures_of_a_cancelled_job_are_removed(
    store: Store, storage: Storage, make_params: Callable[..., TextToImageParams], tmp_path: Path
) -> None:
    claim, _ = write_and_claim(store, storage, make_params)
    (tmp_path / "files" / claim.job_id / "1-0.png.tmp").write_bytes(b"half")
    store.finish(claim, Cancelled())

    assert remove_orphans(store, storage) == 3

    assert list(storage.list()) == []
    assert list(storage.unfinished()) == []


def test_files_that_are_no_jobs_are_left_alone(store: Store, storage: Storage) -> None:
    storage.put("notes/readme.txt", b"mine")

    assert remove_orphans(store, storage) == 0
    assert storage.get("notes/readme.txt") == b"mine"


def test_very_many_orphans_are_removed_wholly(store: Store, storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "files" / ("f" * 32)
    folder.mkdir(parents=True)
    for index in range(1100):
        (folder / f"1-{index}.png").touch()

    assert remove_orphans(store, storage) == 1100
    assert list(storage.list()) == []
