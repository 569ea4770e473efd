"""The tables of blind studies: their pictures, who is shown which when, and what was answered."""


from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from app.jobs.columns import metadata

studies = Table(
    "studies",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    # Every picture of a study is as large as every other.
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    CheckConstraint("kind IN ('real', 'preferred')", name="kind_is_known"),
    Index("ix_studies_owner_number", "owner", "number"),
    sqlite_autoincrement=True,
)

study_pairs = Table(
    "study_pairs",
    metadata,
    Column("study_id", String(32), ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # A copy of its own in the storage, and what it was copied from.
    Column("a_key", Text, nullable=False),
    Column("a_source", Text, nullable=False),
    Column("b_key", Text, nullable=False),
    Column("b_source", Text, nullable=False),
)

study_trials = Table(
    "study_trials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_id", String(32), ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("rater_id", String(32), nullable=False),
    Column("rater", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("pair", Integer, nullable=False),
    Column("is_swapped", Boolean, nullable=False),
    Column("is_repeat", Boolean, nullable=False),
    # All that a rater's browser learns of a picture.
    Column("left_token", String(32), nullable=False, unique=True),
    Column("right_token", String(32), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("study_id", "rater_id", "position"),
)

study_answers = Table(
    "study_answers",
    metadata,
    Column("trial_id", String(32), ForeignKey("study_trials.id", ondelete="CASCADE"), primary_key=True),
    Column("choice", String(8), nullable=False),
    Column("answered_at", Double, nullable=False),
    CheckConstraint("choice IN ('left', 'right', 'tie')", name="choice_is_known"),
)
