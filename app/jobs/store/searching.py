"""Images that are looked for, newest first.  Nothing here changes anything, or takes a lock.

Every search walks an index in the order of the list and stops at the end of the page.  PostgreSQL decides which one:
it knows how many images have which words (GIN) and tags.  SQLite, which counts nothing, is told what leads: words
(FTS5 goes by rowid), else a tag, else the index that holds all that is asked.  Only where many images have the words,
and something else narrows the search as well, are they not looked up one by one: then that leads, and the rowids of
the words are put together first.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    UnaryExpression,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.sql.operators import custom_op

from app.jobs.columns import FULL_TEXT
from app.jobs.search import RELATIONS, Search
from app.jobs.store.reading import IMAGES, before, belongs, images_of, is_kept
from app.jobs.store.records import Image, Page
from app.jobs.tables import image_tags, images

_WORDS = table(FULL_TEXT, column("rowid", Integer))

# To look up so many images one by one takes a few milliseconds.
_MANY = 2000


def search(connection: Connection, owner: str | None, wanted: Search, limit: int, cursor: str | None) -> Page[Image]:
    """The owner's images that fit, newest first; everybody's where there is no owner.  Raises: BadCursor."""
    are_common = _are_common(connection, owner, wanted)
    query = numbers(connection.dialect.name, owner, wanted, cursor, are_words_common=are_common).limit(limit + 1)
    found = connection.execute(query).scalars().all()
    rows = IMAGES.where(images.c.number.in_(found[:limit])).order_by(images.c.number.desc())
    items = images_of(connection, connection.execute(rows).mappings().all()) if found else []
    return Page(tuple(items), str(found[limit - 1]) if len(found) > limit else None)


def numbers(
    dialect: str, owner: str | None, wanted: Search, cursor: str | None = None, *, are_words_common: bool = False
) -> Select[int]:
    """The query for the numbers of the images that fit, newest first.  Raises: BadCursor."""
    labels = [filter.value for filter in wanted.filters if filter.field == "tag"]
    tagged = [image_tags.alias() for _ in labels]
    lead: ColumnElement[int] = tagged[0].c.number if tagged else images.c.number
    if wanted.phrases and dialect == "sqlite" and not are_words_common:
        lead = _WORDS.c.rowid
    is_led = dialect == "sqlite" and lead is not images.c.number

    query = select(images.c.number).where(_belongs(images, owner, is_hidden=is_led), *_conditions(wanted))
    for tags, label in zip(tagged, labels, strict=True):
        is_hidden = is_led and lead is not tags.c.number
        query = query.join(tags, tags.c.number == images.c.number)
        query = query.where(tags.c.tag == label, _belongs(tags, owner, is_hidden=is_hidden))
    if wanted.phrases and dialect == "sqlite":
        query = _with_fts5(query, owner, wanted, are_common=are_words_common)
    elif wanted.phrases:
        query = query.where(images.c.words.op("@@", is_comparison=True)(cast(literal(_tsquery(wanted)), TSQUERY)))
    return query.where(before(lead, cursor)).order_by(lead.desc())


def _with_fts5(query: Select[int], owner: str | None, wanted: Search, *, are_common: bool) -> Select[int]:
    is_match = _matches(owner, wanted)
    if are_common:
        return query.where(_unindexed(images.c.number).in_(select(_WORDS.c.rowid).where(is_match)))
    return query.join(_WORDS, _WORDS.c.rowid == images.c.number).where(is_match)


def _are_common(connection: Connection, owner: str | None, wanted: Search) -> bool:
    """Whether SQLite finds the words in so many images that something else should lead."""
    is_narrow = wanted.filters or wanted.is_deleted
    if connection.dialect.name != "sqlite" or not wanted.phrases or not is_narrow:
        return False
    some = select(_WORDS.c.rowid).where(_matches(owner, wanted)).limit(_MANY).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() == _MANY


def tags(connection: Connection, owner: str | None, limit: int) -> list[tuple[str, int]]:
    """The tags on the owner's images and on how many each is, the most used first."""
    count = func.count()
    used = select(image_tags.c.tag, count).join(images).where(belongs(images, owner), is_kept)
    rows = connection.execute(used.group_by(image_tags.c.tag).order_by(count.desc(), image_tags.c.tag).limit(limit))
    return [(row[0], row[1]) for row in rows]


def _conditions(wanted: Search) -> Iterator[ColumnElement[bool]]:
    yield images.c.deleted_at.is_not(None) if wanted.is_deleted else is_kept
    for filter in wanted.filters:
        if filter.field != "tag":
            yield RELATIONS[filter.relation](images.c[filter.field], filter.value)


def _belongs(table: FromClause, owner: str | None, *, is_hidden: bool) -> ColumnElement[bool]:
    """The owner's rows, found without an index on the owner if it `is_hidden`."""
    if owner is None or not is_hidden:
        return belongs(table, owner)
    return _unindexed(table.c.owner) == owner


def _unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column, as SQLite uses it without an index."""
    return UnaryExpression(column, operator=custom_op("+"))


def _tsquery(wanted: Search) -> str:
    """The phrases as PostgreSQL reads them; words are letters and digits, and need no escape."""
    return " & ".join("(" + " <-> ".join(f"'{word}'" for word in phrase) + ")" for phrase in wanted.phrases)


def _matches(owner: str | None, wanted: Search) -> ColumnElement[bool]:
    """FTS5's condition.  The owner only narrows it: the tokenizer knows no case and no signs."""
    phrases = [f'words : "{" ".join(phrase)}"' for phrase in wanted.phrases]
    if owner is not None:
        phrases.append('owner : "{}"'.format(owner.replace('"', '""')))
    return literal_column(FULL_TEXT).op("MATCH", is_comparison=True)(" AND ".join(phrases))
