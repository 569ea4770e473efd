"""Faults that tests inject into a real database or storage; each lasts as long as its `with`."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.jobs.failures import StorageError
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import Store

_ANY_NUMBER_OF_PAGES = 2**30


def engines_of(store: Store) -> Sequence[Engine]:
    """Every engine through which a store speaks to its database."""
    return store._engines


@contextmanager
def full_database(*engines: Engine) -> Iterator[None]:
    """SQLite refuses to grow, as it does on a full disk; what fits into the pages it has is still written."""
    is_full = True

    def measure(connection: Any, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if is_full else _ANY_NUMBER_OF_PAGES
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with ExitStack() as listening:
        for engine in engines:
            event.listen(engine, "checkout", measure)
            listening.callback(event.remove, engine, "checkout", measure)
        yield
        is_full = False
        # The limit is a connection's own: those in the pool are freed of it.
        for engine in engines:
            engine.dispose()


@contextmanager
def database_away(*engines: Engine) -> Iterator[None]:
    """Every statement fails, as if the disk or the server were gone."""
    with ExitStack() as broken:
        for engine in engines:
            execute: Callable[..., None] = engine.dialect.do_execute

            def refuse(*_: object, **__: object) -> None:
                raise sqlite3.OperationalError("disk I/O error")

            engine.dialect.do_execute = refuse  # type: ignore[method-assign]
            broken.callback(setattr, engine.dialect, "do_execute", execute)
        yield


@contextmanager
def database_locked(settings: Settings) -> Iterator[None]:
    """A stranger holds SQLite's write lock."""
    stranger = sqlite3.connect(settings.data_dir / "darkroom.sqlite3", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    yield
    stranger.execute("ROLLBACK")
    stranger.close()


class FaultyStorage:
    """A real storage whose next writes raise what is in `refusals`, the last first."""

    def __init__(self, storage: Storage, refusals: Sequence[StorageError] = ()) -> None:
        """Refuse as often as there are `refusals`."""
        self.real = storage
        self.refusals = list(refusals)

    def put(self, key: str, data: bytes) -> None:
        """Refuse, or do it."""
        if self.refusals:
            raise self.refusals.pop()
        self.real.put(key, data)

    def __getattr__(self, name: str) -> object:
        """Everything else is the real storage's."""
        return getattr(self.real, name)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of `size_bytes` at `folder`; where mounting is not allowed the test is skipped, and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("NOT TRIED on a disk that is really full: there is no `mount` here")
    if mounted.returncode != 0:
        pytest.skip(f"NOT TRIED on a disk that is really full: mounting is not allowed here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
