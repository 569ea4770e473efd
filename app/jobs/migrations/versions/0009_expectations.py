"""What was expected of a job when it was queued, so that quotes can learn from what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns in place; nothing was expected of older jobs."""
    op.add_column("jobs", sa.Column("expected_start_s", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("expected_finish_s", sa.Double(), nullable=True))


def downgrade() -> None:
    """Drop them; quotes begin to learn anew."""
    op.drop_column("jobs", "expected_finish_s")
    op.drop_column("jobs", "expected_start_s")
