"""How much a principal may ask for, and who is signed in on the pages."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LIMITS: Mapping[str, sa.types.TypeEngine[Any]] = {
    "requests_per_minute": sa.Integer(),
    "queued_jobs": sa.Integer(),
    "job_cost": sa.Double(),
    "uploads_mb": sa.Integer(),
}


def upgrade() -> None:
    """Add columns in place, empty, so that the settings' limits count for every name; and a table."""
    for name, kind in LIMITS.items():
        op.add_column("principals", sa.Column(name, kind, nullable=True))
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_sessions_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_key_id"), "sessions", ["key_id"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])


def downgrade() -> None:
    """Drop what was added; everybody is signed out, and the names' own limits are forgotten."""
    op.drop_table("sessions")
    for name in LIMITS:
        op.drop_column("principals", name)
