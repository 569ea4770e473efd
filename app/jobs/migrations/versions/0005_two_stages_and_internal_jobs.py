"""Jobs that pass through two models, jobs about images, and the steps of an image, kept."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
JOB_COLUMNS: Mapping[str, sa.types.TypeEngine[Any]] = {
    "second_model": sa.Text(),
    "fingerprint": sa.Text(),
    "subject": sa.String(length=64),
    "result": JSON,
}
KINDS = ("image", "thumbnail")
NEW_KINDS = ("trajectory", "decoded")


def upgrade() -> None:
    """Add columns in place, and let files be of two more kinds."""
    for name, kind in JOB_COLUMNS.items():
        op.add_column("jobs", sa.Column(name, kind))
    op.add_column("images", sa.Column("trajectory", JSON))
    is_picky = sa.text("second_model IS NOT NULL OR fingerprint IS NOT NULL")
    is_internal = sa.text("subject IS NOT NULL")
    op.create_index(
        "ix_jobs_picky", "jobs", ["state", "queued_at"], unique=False, sqlite_where=is_picky, postgresql_where=is_picky
    )
    op.create_index(
        "ix_jobs_subject", "jobs", ["subject"], unique=False, sqlite_where=is_internal, postgresql_where=is_internal
    )
    _allow((*KINDS, *NEW_KINDS))


def downgrade() -> None:
    """Drop what was added; the files of the new kinds are swept away as nobody's."""
    op.execute("DELETE FROM files WHERE kind IN ('trajectory', 'decoded')")
    _allow(KINDS)
    for index in ("ix_jobs_subject", "ix_jobs_picky"):
        op.drop_index(index, table_name="jobs")
    op.drop_column("images", "trajectory")
    for column in JOB_COLUMNS:
        op.drop_column("jobs", column)


def _allow(kinds: tuple[str, ...]) -> None:
    """Let files be of these kinds and no others."""
    name, check = op.f("ck_files_kind_is_known"), f"kind IN ({', '.join(map(repr, kinds))})"
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(name, "files", type_="check")
        op.create_check_constraint(name, "files", check)
        return
    # SQLite changes a check by making the table anew. Images name its rows meanwhile: by the end they are back.
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE kept_files AS SELECT * FROM files")
    op.drop_table("files")
    op.create_table(
        "files",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.CheckConstraint(check, name=name),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_files_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_job_id"), "files", ["job_id"], unique=False)
    op.execute("INSERT INTO files (key, kind, job_id, attempt) SELECT key, kind, job_id, attempt FROM kept_files")
    op.execute("DROP TABLE kept_files")
