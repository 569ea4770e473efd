"""What every storage does.  A new kind of storage joins by a line in `storage`."""

from pathlib import Path
from threading import Barrier, Thread

import pytest

from app.jobs.failures import BadKey, NoSuchFile, SettingsError, StorageError
from app.jobs.storage import Storage, check_key, image_key, open_storage, thumbnail_key

KEY = f"{'a' * 32}/1-0.png"


@pytest.fixture(params=["local", "object"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of storage, empty."""
    if request.param == "object":
        return open_storage(str(request.getfixturevalue("bucket_url")))
    return open_storage((tmp_path / "files with a space").as_uri())


def test_what_was_put_can_be_got(storage: Storage) -> None:
    storage.put(KEY, b"\x89PNG" + bytes(100_000))

    assert storage.get(KEY) == b"\x89PNG" + bytes(100_000)
    with storage.open(KEY) as file:
        file.seek(1)
        assert file.read(3) == b"PNG"


def test_the_same_may_be_put_again_and_nothing_else(storage: Storage) -> None:
    storage.put(KEY, b"first")
    storage.put(KEY, b"first")

    with pytest.raises(StorageError, match="something else"):
        storage.put(KEY, b"second")
    assert storage.get(KEY) == b"first"


def test_of_two_who_put_different_things_at_once_one_wins_wholly(storage: Storage) -> None:
    storage.put("a/other.png", b"so that the folder exists")
    refused: list[bytes] = []
    start = Barrier(2)

    def put(data: bytes) -> None:
        start.wait()
        try:
            storage.put(KEY, data)
        except StorageError:
            refused.append(data)

    threads = [Thread(target=put, args=(digit * 100_000,)) for digit in (b"1", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stored = storage.get(KEY)
    assert len(stored) == 100_000
    assert len(set(stored)) == 1
    assert stored not in refused


def test_a_file_may_be_read_piece_by_piece(storage: Storage) -> None:
    data = bytes(range(256)) * 4096
    storage.put(KEY, data)

    with storage.open(KEY) as file:
        assert b"".join(iter(lambda: file.read(100_000), b"")) == data
        file.seek(-3, 2)
        assert file.read() == data[-3:]


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    storage.put(KEY, b"")

    assert storage.get(KEY) == b""


def test_what_is_not_there_is_named(storage: Storage) -> None:
    storage.put(KEY, b"x")

    for missing in ("nothing.png", f"{'b' * 32}/1-0.png", "a" * 32, f"{KEY}/deeper"):
        with pytest.raises(NoSuchFile, match=missing):
            storage.get(missing)
        with pytest.raises(NoSuchFile, match=missing):
            storage.open(missing)
        assert storage.path(missing) is None


def test_deleting_is_final_and_may_be_repeated(storage: Storage) -> None:
    storage.put(KEY, b"x")

    storage.delete(KEY)
    storage.delete(KEY)

    with pytest.raises(NoSuchFile):
        storage.get(KEY)
    assert list(storage.list()) == []


def test_keys_are_listed_by_prefix(storage: Storage) -> None:
    assert list(storage.list()) == []
    for key in ("a/1.png", "a/2.png", "ab/1.png", "c/d/e.png"):
        storage.put(key, b"x")

    assert sorted(storage.list()) == ["a/1.png", "a/2.png", "ab/1.png", "c/d/e.png"]
    assert sorted(storage.list("a/")) == ["a/1.png", "a/2.png"]
    assert sorted(storage.list("a")) == ["a/1.png", "a/2.png", "ab/1.png"]
    assert list(storage.list("nothing")) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "./a",
        "a//b",
        "a/",
        ".hidden",
        "a/.hidden",
        "a\\b",
        "a\0b",
        "a\n",
        "ä.png",
        "a b",
        "1/2/3/4/5",
        "x" * 200,
        "a/1-0.png.tmp",
        "~/x",
        "%2e%2e/x",
    ],
)
def test_a_strange_key_is_refused_by_every_method(storage: Storage, tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_bytes(b"secret")
    with pytest.raises(BadKey):
        check_key(key)
    for method in (storage.get, storage.open, storage.path, lambda key: storage.put(key, b"y")):
        with pytest.raises(BadKey):
            method(key)
    if not key.endswith(".tmp"):
        with pytest.raises(BadKey):
            storage.delete(key)

    assert (tmp_path / "x").read_bytes() == b"secret"
    assert list(storage.list()) == []


def test_the_keys_of_a_jobs_files_are_keys() -> None:
    job_id = "0123456789abcdef" * 2

    assert check_key(image_key(job_id, 3, 15, "webp")) == f"{job_id}/3-15.webp"
    assert check_key(thumbnail_key(job_id, 3, 15, 256)) == f"{job_id}/3-15.thumb256.webp"


def test_a_storage_can_be_asked_whether_it_works(storage: Storage) -> None:
    storage.ping()
    free = storage.free_bytes()
    assert free is None or free > 0


@pytest.mark.parametrize(
    "url", ["", "files", "file://host/x", "file:x", "s3:///x", "s3://B/x", "s3://bucket/../x", "http://x/y"]
)
def test_only_a_url_of_a_known_storage_opens_one(url: str) -> None:
    with pytest.raises(SettingsError, match="a storage URL must be file:///absolute/folder or s3://bucket/prefix"):
        open_storage(url)
