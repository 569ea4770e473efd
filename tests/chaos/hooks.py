"""What makes a process of ours fail on purpose: patches of the things that the product stands on, never of itself.

A child of the chaos run installs them before it does anything else (`child.py`); the product has no such code.

    crash points   the process ends, as if killed, right before or after a commit, a rename, an fsync, a removal, a ring
    lost answers   a COMMIT that is done, or is not done, and raises
    dropped rings  a share of all rings never reaches Redis
    a full disk    while a file exists, nothing more is written, and SQLite does not grow
"""

import errno
import json
import os
import random
import re
import sqlite3
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rq import Queue
from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool

VARIABLE = "CHAOS_HOOKS"
CRASHED = 77
"""The exit status of a process that came to its crash point."""

_ANY_NUMBER_OF_PAGES = 2**30
_PICTURE = re.compile(r"[0-9]+-[0-9]+\.(?P<kind>\S+?)(\.[0-9a-f]{8})?(?P<unfinished>\.tmp)?$")


@dataclass(frozen=True)
class Hooks:
    """Which faults a process gets."""

    crash_at: str | None = None
    """The point at which it ends; the first time it comes there."""
    visited: str | None = None
    """A file in which every point it comes to is written down."""
    dropped_rings: float = 0.0
    seed: int = 0
    full_while: str | None = None
    """A file; while it exists, the disk is full."""

    def for_child(self) -> dict[str, str]:
        """The environment in which `install_named` finds these hooks."""
        return {VARIABLE: json.dumps(asdict(self))}


def install_named() -> None:
    """Install what the environment names, if anything."""
    if VARIABLE in os.environ:
        install(Hooks(**json.loads(os.environ[VARIABLE])))


def install(hooks: Hooks) -> None:
    """From now on this process fails as `hooks` says."""
    if hooks.crash_at is not None or hooks.visited is not None:
        _install_points(Points(hooks.crash_at, None if hooks.visited is None else Path(hooks.visited)))
    if hooks.dropped_rings:
        _drop_rings(random.Random(hooks.seed), hooks.dropped_rings)
    if hooks.full_while is not None:
        _fill_disk(Path(hooks.full_while))


class Points:
    """Every point that the process comes to; at one of them it ends."""

    def __init__(self, crash_at: str | None, visited: Path | None) -> None:
        self._crash_at = crash_at
        self._visited = visited
        self._known: set[str] = set()

    def reach(self, name: str) -> None:
        """Write down that the process came here, and end if this is the point."""
        self._note(name)
        if name == self._crash_at:
            os._exit(CRASHED)

    def is_lost(self, name: str) -> bool:
        """Whether the answer of this commit is to be lost, once."""
        self._note(name)
        if name != self._crash_at:
            return False
        self._crash_at = None
        return True

    def _note(self, name: str) -> None:
        if self._visited is not None and name not in self._known:
            self._known.add(name)
            with self._visited.open("a") as file:
                file.write(name + "\n")


def _install_points(points: Points) -> None:
    _around(os, "replace", points, lambda source, *_: _of_picture("rename", source))
    _around(os, "unlink", points, lambda path, *_: _of_picture("remove", path))
    _around(os, "fsync", points, _of_descriptor)
    _around(Queue, "enqueue_call", points, lambda *_: "ring")
    commit = DefaultDialect.do_commit

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        name = _transition()
        if name is None:
            return commit(dialect, connection)
        points.reach(f"before commit {name}")
        if points.is_lost(f"refused commit {name}"):
            raise sqlite3.OperationalError("disk I/O error")
        commit(dialect, connection)
        points.reach(f"after commit {name}")
        if points.is_lost(f"unanswered commit {name}"):
            raise sqlite3.OperationalError("disk I/O error")
        return None

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


def _around(owner: Any, name: str, points: Points, describe: Callable[..., str | None]) -> None:
    """Come to a point before and after each call of `owner.name` that `describe` has a word for."""
    real = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        what = describe(*arguments)
        if what is not None:
            points.reach(f"before {what}")
        answer = real(*arguments, **named)
        if what is not None:
            points.reach(f"after {what}")
        return answer

    setattr(owner, name, wrapped)


def _transition() -> str | None:
    """The method of the store whose writing transaction is being committed; None if it writes nothing."""
    frame, writes = sys._getframe(2), False
    while frame.f_back is not None:
        file, function = Path(frame.f_code.co_filename), frame.f_code.co_name
        writes |= function == "writing"
        if file.parts[-3:] == ("jobs", "store", "store.py"):
            return function if writes else None
        frame = frame.f_back
    return None


def _of_picture(action: str, path: object) -> str | None:
    found = _PICTURE.search(str(path))
    return f"{action} {found['kind']}{found['unfinished'] or ''}" if found else None


def _of_descriptor(descriptor: int, *_: object) -> str | None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return "fsync folder"
    return _of_picture("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))


def _drop_rings(dice: random.Random, share: float) -> None:
    enqueue = Queue.enqueue_call

    def maybe(*arguments: Any, **named: Any) -> Any:
        return None if dice.random() < share else enqueue(*arguments, **named)

    Queue.enqueue_call = maybe  # type: ignore[method-assign]


def _fill_disk(flag: Path) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if flag.exists() and stat.S_ISREG(status.st_mode):
            # What is left is half of it, as a disk does that fills up.
            os.ftruncate(descriptor, status.st_size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def measure(connection: Any, *_: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            pages = connection.execute("PRAGMA page_count").fetchone()[0] if flag.exists() else _ANY_NUMBER_OF_PAGES
            connection.execute(f"PRAGMA max_page_count = {pages}")

    os.fsync = refuse  # type: ignore[assignment]
    event.listen(Pool, "checkout", measure)
