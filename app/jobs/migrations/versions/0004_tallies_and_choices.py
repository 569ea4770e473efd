"""Counts that outlive the rows they were counted from, and what whoever runs the service has chosen."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COVERED = ["state", "priority", "model", "cost", "queued_at", "attempt", "losses", "infra_failures"]


def upgrade() -> None:
    """Add a column in place, and two tables; what has ended before is counted by the next sweeps."""
    op.add_column("jobs", sa.Column("is_tallied", sa.Boolean(), server_default=sa.false(), nullable=False))
    is_untallied = sa.column("is_tallied", sa.Boolean()).is_(False)
    op.create_index(
        "ix_jobs_untallied", "jobs", COVERED, unique=False, sqlite_where=is_untallied, postgresql_where=is_untallied
    )
    op.create_table(
        "tallies",
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", "kind", name=op.f("pk_tallies")),
    )
    op.create_table(
        "choices",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_choices")),
    )


def downgrade() -> None:
    """Drop what was added; the counts begin again with the jobs that are still there."""
    op.drop_table("choices")
    op.drop_table("tallies")
    op.drop_index("ix_jobs_untallied", table_name="jobs")
    op.drop_column("jobs", "is_tallied")
