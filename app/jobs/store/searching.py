"""Images that are looked for, newest first.  Nothing here changes anything, or takes a lock.

A search for words walks the full-text index from its newest entry (SQLite: FTS5, by rowid) or leaves it to the planner
whether to (PostgreSQL: GIN).  Any other walks an index that holds all that is asked, and stops at the end of the page.
"""

from collections.abc import Iterator

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

from app.jobs.search import RELATIONS, Filter, Search
from app.jobs.store.reading import IMAGES, before, belongs, images_of, is_kept
from app.jobs.store.records import Image, Page
from app.jobs.tables import FULL_TEXT, image_tags, images

_WORDS = table(FULL_TEXT, column("rowid", Integer))


def search(connection: Connection, owner: str | None, wanted: Search, limit: int, cursor: str | None) -> Page[Image]:
    """The owner's images that fit, newest first; everybody's where there is no owner.  Raises: BadCursor."""
    query = numbers(connection.dialect.name, owner, wanted, cursor).limit(limit + 1)
    found = connection.execute(query).scalars().all()
    rows = IMAGES.where(images.c.number.in_(found[:limit])).order_by(images.c.number.desc())
    items = images_of(connection, connection.execute(rows).mappings().all()) if found else []
    return Page(tuple(items), str(found[limit - 1]) if len(found) > limit else None)


def numbers(dialect: str, owner: str | None, wanted: Search, cursor: str | None = None) -> Select[int]:
    """The query for the numbers of the images that fit, newest first.  Raises: BadCursor."""
    tagged = [image_tags.alias() for filter in wanted.filters if filter.field == "tag"]
    # What leads: the fewest rows in the order of the list.  SQLite, which knows nothing of how many there are, is told
    # so by hiding the owner from its indexes.
    lead: ColumnElement[int] = tagged[0].c.number if tagged else images.c.number
    if wanted.phrases and dialect == "sqlite":
        lead = _WORDS.c.rowid
    is_led = dialect == "sqlite" and lead is not images.c.number

    query = select(images.c.number).where(_belongs(images, owner, is_hidden=is_led), *_conditions(wanted))
    labels = [filter.value for filter in wanted.filters if filter.field == "tag"]
    for tags, label in zip(tagged, labels, strict=True):
        is_hidden = is_led and lead is not tags.c.number
        query = query.join(tags, tags.c.number == images.c.number)
        query = query.where(tags.c.tag == label, _belongs(tags, owner, is_hidden=is_hidden))
    if wanted.phrases:
        query = _with_words(query, dialect, owner, wanted)
    return query.where(before(lead, cursor)).order_by(lead.desc())


def _with_words(query: Select[int], dialect: str, owner: str | None, wanted: Search) -> Select[int]:
    if dialect == "sqlite":
        is_match = literal_column(FULL_TEXT).op("MATCH", is_comparison=True)(_fts5(owner, wanted))
        return query.join(_WORDS, _WORDS.c.rowid == images.c.number).where(is_match)
    phrases = " & ".join("(" + " <-> ".join(f"'{word}'" for word in phrase) + ")" for phrase in wanted.phrases)
    return query.where(images.c.words.op("@@", is_comparison=True)(cast(literal(phrases), TSQUERY)))


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
            yield _condition(filter)


def _condition(filter: Filter) -> ColumnElement[bool]:
    asked = images.c[filter.field]
    if isinstance(filter.value, bool):
        # As the partial index says it.
        return asked.is_(filter.value)
    condition: ColumnElement[bool] = RELATIONS[filter.relation](asked, filter.value)
    return condition


def _belongs(table: FromClause, owner: str | None, *, is_hidden: bool) -> ColumnElement[bool]:
    """The owner's rows, found without an index on the owner if it `is_hidden`."""
    if owner is None or not is_hidden:
        return belongs(table, owner)
    return UnaryExpression(table.c.owner, operator=custom_op("+")) == owner


def _fts5(owner: str | None, wanted: Search) -> str:
    """The search as FTS5 reads it.  The owner only narrows it: the tokenizer knows no case and no signs."""
    phrases = [f'words : "{" ".join(phrase)}"' for phrase in wanted.phrases]
    if owner is not None:
        phrases.append('owner : "{}"'.format(owner.replace('"', '""')))
    return " AND ".join(phrases)
