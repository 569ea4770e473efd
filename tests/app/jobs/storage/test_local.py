"""What the local storage promises about the power going away, full disks and half-written files."""

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs.failures import NoSuchFile, StorageError, StorageFull
from app.jobs.storage import local
from app.jobs.storage.local import LocalStorage

KEY = f"{'a' * 32}/1-0.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "files"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def test_a_file_is_synced_then_renamed_and_then_its_folder_is_synced(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put(f"{'a' * 32}/1-1.png", b"so that the folder exists")
    happened: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        happened.append("sync of the folder" if is_folder else f"sync of {status.st_size} bytes")
        if is_folder:
            assert status.st_ino == (root / KEY).parent.stat().st_ino
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        assert re.fullmatch(r"1-0[.]png[.][0-9a-f]{8}[.]tmp", self.name)
        happened.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)

    storage.put(KEY, b"12345")

    assert happened == ["sync of 5 bytes", "rename to 1-0.png", "sync of the folder"]


def test_a_new_folder_is_synced_into_its_parent(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)

    storage.put(KEY, b"x")

    for folder in (root.parent.parent, root.parent, root, (root / KEY).parent):
        assert folder.stat().st_ino in synced


CRASH = """
import os, sys
from pathlib import Path
from app.jobs.storage import local
from app.jobs.storage.local import LocalStorage

Path.replace = lambda self, target: os._exit(9)
LocalStorage(Path(sys.argv[1])).put(sys.argv[2], b"half")
"""


def test_a_crash_before_the_rename_leaves_nothing_to_be_seen(storage: LocalStorage, root: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    crash = subprocess.run([sys.executable, "-c", CRASH, str(root), KEY], env=environment, check=False)
    assert crash.returncode == 9

    assert list(storage.list()) == []
    assert storage.path(KEY) is None
    with pytest.raises(NoSuchFile):
        storage.get(KEY)
    (left,) = storage.unfinished()
    assert re.fullmatch(rf"{KEY}[.][0-9a-f]{{8}}[.]tmp", left)

    storage.put(KEY, b"whole")
    assert storage.get(KEY) == b"whole"
    assert list(storage.unfinished()) == [left], "the sweeper's"


def test_what_a_crash_left_can_be_deleted(storage: LocalStorage, root: Path) -> None:
    storage.put(KEY, b"x")
    (root / f"{KEY}.tmp").write_bytes(b"half")

    for name in list(storage.unfinished()):
        storage.delete(name)

    assert list(storage.unfinished()) == []
    assert storage.get(KEY) == b"x"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_its_half_file_removed(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    storage.put(f"{'a' * 32}/1-1.png", b"before")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match=os.strerror(code)):
        storage.put(KEY, b"after")
    monkeypatch.undo()

    assert list(storage.list()) == [f"{'a' * 32}/1-1.png"]
    assert list(storage.unfinished()) == []
    storage.put(KEY, b"after")


def test_a_disk_that_really_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "files"
    (root / ("a" * 32)).mkdir(parents=True)
    monkeypatch.setattr(local, "token_hex", lambda _: "0123abcd")
    # The kernel's own full device, where the file would be written.
    (root / f"{KEY}.0123abcd.tmp").symlink_to("/dev/full")

    with pytest.raises(StorageFull, match="No space left"):
        LocalStorage(root).put(KEY, b"x" * 100_000)


def test_a_broken_disk_is_an_error_of_the_storage(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)

    with pytest.raises(StorageError, match="Input/output error") as failure:
        storage.put(KEY, b"x")
    assert not isinstance(failure.value, StorageFull)


def test_a_file_where_the_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    storage = LocalStorage(tmp_path / "files")

    with pytest.raises(StorageError):
        storage.put(KEY, b"x")
    with pytest.raises(StorageError):
        storage.ping()


def test_an_open_file_stays_whole_when_it_is_deleted(storage: LocalStorage) -> None:
    storage.put(KEY, b"first")
    with storage.open(KEY) as file:
        storage.delete(KEY)
        assert file.read() == b"first"


def test_the_path_is_the_file(storage: LocalStorage, root: Path) -> None:
    storage.put(KEY, b"x")

    assert storage.path(KEY) == root / KEY
