"""What columns are made of: JSON, words that are looked for, the database's clock, and how constraints are named."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Dialect,
    Double,
    MetaData,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

Json = JSON().with_variant(JSONB(), "postgresql")

FULL_TEXT = "image_words"
"""The full-text index over `images.words`, which only a migration can describe: in SQLite a virtual table of FTS5's
that triggers fill, in PostgreSQL a GIN index."""


def is_plain(name: str | None, kind: str, parents: object) -> bool:
    """Whether a thing in the database is one that this module describes."""
    return name is None or not name.startswith(FULL_TEXT)


class Words(TypeDecorator[Sequence[str]]):
    """Words in their order, to be searched: in PostgreSQL as what it searches, in SQLite as a text that FTS5 indexes.

    Both take them as they are cut already (letters and digits), so both find the same.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TSVECTOR or TEXT."""
        return dialect.type_descriptor(TSVECTOR() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:
        """The words as the database reads them."""
        if value is None or dialect.name != "postgresql":
            return None if value is None else " ".join(value)
        return " ".join(f"'{word}':{place}" for place, word in enumerate(value, 1))


class database_now(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function it is
    """Seconds since 1970 by the database's clock, when the statement began."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42, which Debian 12 does not have.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    return "(extract(epoch from statement_timestamp())::double precision)"
