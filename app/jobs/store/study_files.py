"""Where the pictures of a study lie, and which of those files no study names.

They are written before their study's row, under a key that says when, by the database's clock: a file that is older
than a row may be late, and that no row names, never will be named.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from secrets import token_hex

from sqlalchemy import Connection, select

from app.jobs.columns import database_now
from app.jobs.failures import StoreUnavailable
from app.jobs.study_tables import study_pairs

# SQLite takes 32,766 variables in a statement.
_KEYS_AT_ONCE = 1000

_STUDY_FILE = re.compile(r"(?P<key>studies/(?P<made_at>[0-9a-f]{9})-[0-9a-f]{16}/[0-9]{4}\.png)(\.tmp)?")


def new_keys(connection: Connection, count: int) -> list[str]:
    """Keys for so many pictures of a new study, that nobody ever had."""
    now = connection.execute(select(database_now())).scalar_one()
    folder = f"studies/{int(now):09x}-{token_hex(8)}"
    return [f"{folder}/{number:04}.png" for number in range(count)]


def check_fresh(connection: Connection, keys: Iterable[str], unnamed_s: float) -> None:
    """Return if no sweep can have taken these files for forgotten.  Raises: StoreUnavailable."""
    now = connection.execute(select(database_now())).scalar_one()
    if any(match and now - _made_at(match) > unnamed_s / 2 for match in map(_STUDY_FILE.fullmatch, keys)):
        raise StoreUnavailable("the pictures were written too long ago to be sure that they are still there")


def orphans(connection: Connection, keys: Iterable[str], unnamed_s: float) -> set[str]:
    """Those files of studies that no study names, and were begun too long ago for one; other keys are never orphans."""
    found = {key: match for key in keys if (match := _STUDY_FILE.fullmatch(key))}
    if not found:
        return set()
    now = connection.execute(select(database_now())).scalar_one()
    old = {key: match["key"] for key, match in found.items() if now - _made_at(match) > unnamed_s}
    named = set(_named(connection, sorted(set(old.values()))))
    return {name for name, key in old.items() if key not in named or name != key}


def _named(connection: Connection, keys: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        for column in (study_pairs.c.a_key, study_pairs.c.b_key):
            yield from connection.execute(select(column).where(column.in_(some))).scalars()


def _made_at(match: re.Match[str]) -> int:
    return int(match["made_at"], 16)
