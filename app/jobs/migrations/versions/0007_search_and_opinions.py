"""Images that are found by their words and facts, kept apart by tags, rated, and deleted for a while."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.jobs.columns import Words
from app.jobs.search import words

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TEXT = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")
EMPTY = sa.text("''")
AT_ONCE = 1000

SHELF = ["owner", "number", "deleted_at", "created_at", "task", "model", "sampler", "steps", "seed", "width", "height"]
SHELF += ["favourite", "rating"]

# FTS5 keeps no text of its own: the triggers tell it what came and went.
FULL_TEXT = (
    "CREATE VIRTUAL TABLE image_words USING fts5(owner, words, content='images', content_rowid='number', "
    "tokenize='ascii')",
    "CREATE TRIGGER images_come AFTER INSERT ON images BEGIN "
    "INSERT INTO image_words (rowid, owner, words) VALUES (new.number, new.owner, new.words); END",
    "CREATE TRIGGER images_go AFTER DELETE ON images BEGIN "
    "INSERT INTO image_words (image_words, rowid, owner, words) "
    "VALUES ('delete', old.number, old.owner, old.words); END",
    "CREATE TRIGGER images_change AFTER UPDATE OF owner, words ON images BEGIN "
    "INSERT INTO image_words (image_words, rowid, owner, words) "
    "VALUES ('delete', old.number, old.owner, old.words); "
    "INSERT INTO image_words (rowid, owner, words) VALUES (new.number, new.owner, new.words); END",
    "INSERT INTO image_words (image_words) VALUES ('rebuild')",
)


def upgrade() -> None:
    """Columns are added in place, and filled from the jobs; then they are indexed."""
    for column in _columns():
        op.add_column("images", column)
    _fill()
    op.drop_index("ix_images_owner_number", table_name="images")
    op.create_index("ix_images_shelf", "images", SHELF, unique=False)
    is_deleted = sa.column("deleted_at").is_not(None)
    op.create_index(
        "ix_images_deleted",
        "images",
        ["deleted_at"],
        unique=False,
        sqlite_where=is_deleted,
        postgresql_where=is_deleted,
    )
    op.create_table(
        "image_tags",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["images.number"], name=op.f("fk_image_tags_number"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number", "tag", name=op.f("pk_image_tags")),
    )
    op.create_index("ix_image_tags_owner_tag_number", "image_tags", ["owner", "tag", "number"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("image_words", "images", ["words"], unique=False, postgresql_using="gin")
    else:
        for statement in FULL_TEXT:
            op.execute(statement)


def downgrade() -> None:
    """Drop what was added, opinions and tags with it; what was deleted is seen again."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("image_words", table_name="images")
    else:
        for trigger in ("images_come", "images_go", "images_change"):
            op.execute(f"DROP TRIGGER {trigger}")
        op.drop_table("image_words")
    op.drop_table("image_tags")
    for index in ("ix_images_deleted", "ix_images_shelf"):
        op.drop_index(index, table_name="images")
    op.create_index("ix_images_owner_number", "images", ["owner", "number"], unique=False)
    for column in _columns():
        op.drop_column("images", column.name)


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("task", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("model", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("sampler", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("steps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("words", TEXT),
        sa.Column("favourite", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("rating", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deleted_at", sa.Double()),
    ]


def _fill() -> None:
    """Write what is searched by into the images there are."""
    bind = op.get_bind()
    jobs = sa.table("jobs", sa.column("id"), sa.column("task"), sa.column("model"), sa.column("params", JSON))
    names = ("number", "job_id", "task", "model", "sampler", "steps")
    facts: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    images = sa.table("images", *facts, sa.column("words", Words()))
    some = sa.select(images.c.number, jobs.c.task, jobs.c.model, jobs.c.params)
    some = some.join_from(images, jobs, images.c.job_id == jobs.c.id).order_by(images.c.number).limit(AT_ONCE)
    last = 0
    while rows := bind.execute(some.where(images.c.number > last)).all():
        last = rows[-1].number
        update = sa.update(images).where(images.c.number == sa.bindparam("this"))
        bind.execute(update.values(_set(images)), [_facts(row) for row in rows])


def _set(images: Any) -> dict[str, Any]:
    names = ("task", "model", "sampler", "steps", "words")
    return {name: sa.bindparam(f"new_{name}", type_=images.c[name].type) for name in names}


def _facts(row: Any) -> dict[str, Any]:
    params = row.params
    return {
        "this": row.number,
        "new_task": row.task,
        "new_model": row.model,
        "new_sampler": params.get("sampler", ""),
        "new_steps": params.get("steps", 0),
        "new_words": words(params.get("prompt", "")),
    }
