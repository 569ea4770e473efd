"""The fair order between owners, idempotency keys, principals and their keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_jobs_line": ["state", "priority", "model", "tag", "number"],
    "ix_jobs_lane": ["owner", "priority", "model", "state", "tag", "number"],
    "ix_jobs_lane_started": ["owner", "priority", "model", "started_at"],
    "ix_jobs_started": ["priority", "started_at"],
}
COLUMNS = ("priority", "start_tag", "tag", "idempotency_key", "body_sha256")


def upgrade() -> None:
    """Columns are added in place: a copy of `jobs` would take every image with it, by its foreign keys."""
    op.add_column("jobs", sa.Column("priority", sa.String(length=16), server_default="normal", nullable=False))
    op.add_column("jobs", sa.Column("start_tag", sa.Double(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("tag", sa.Double(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(length=255)))
    op.add_column("jobs", sa.Column("body_sha256", sa.String(length=64)))
    op.drop_index("ix_jobs_state_number", table_name="jobs")
    for name, columns in INDEXES.items():
        op.create_index(name, "jobs", columns, unique=False)
    op.create_index("ix_jobs_idempotency", "jobs", ["owner", "idempotency_key"], unique=True)
    is_keyed = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "ix_jobs_keyed", "jobs", ["created_at"], unique=False, sqlite_where=is_keyed, postgresql_where=is_keyed
    )
    op.create_table(
        "lanes",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "priority", "model", name=op.f("pk_lanes")),
    )
    op.execute(
        "INSERT INTO lanes (owner, priority, model, used_at) SELECT owner, priority, model, max(created_at) "
        "FROM jobs WHERE state IN ('queued', 'running') GROUP BY owner, priority, model"
    )
    op.create_table(
        "principals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_principals_weight_is_positive")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_principals")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name=op.f("fk_keys_principal"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )


def downgrade() -> None:
    """Drop what was added."""
    for table in ("keys", "principals", "lanes"):
        op.drop_table(table)
    for index in ("ix_jobs_keyed", "ix_jobs_idempotency", *INDEXES):
        op.drop_index(index, table_name="jobs")
    op.create_index("ix_jobs_state_number", "jobs", ["state", "number"], unique=False)
    for column in COLUMNS:
        op.drop_column("jobs", column)
