"""The tables.  The row is the truth about a job; everything else in the service is a hint about it.

Times are seconds since 1970 by the database's clock, as floats: one clock decides about leases, and
"now + lease" reads the same in SQLite and PostgreSQL.
"""


from sqlalchemy import (
    BigInteger,
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
    false,
    or_,
    text,
)

from app.jobs.columns import Json, Words, metadata

jobs = Table(
    "jobs",
    metadata,
    # The order of arrival: oldest first when claiming, newest first when listing.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    # What whoever takes it must offer besides: another model, and being a certain kind of device and build.
    Column("second_model", Text),
    Column("fingerprint", Text),
    # What an internal job is about, and what came of it.
    Column("subject", String(64)),
    Column("result", Json),
    Column("params", Json, nullable=False),
    Column("warnings", Json, nullable=False),
    Column("cost", Double, nullable=False),
    Column("priority", String(16), nullable=False, server_default="normal"),
    # Its place in the fair order: where its owner's share of the service begins and ends (see fairness).
    Column("start_tag", Double, nullable=False, server_default="0"),
    Column("tag", Double, nullable=False, server_default="0"),
    Column("idempotency_key", String(255)),
    Column("body_sha256", String(64)),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("solo", Boolean, nullable=False),
    Column("infra_failures", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("not_before", Double, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("timings", Json),
    Column("model_revision", Text),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    # What was expected when it was queued, in seconds from then: quotes learn from what came of it.
    Column("expected_start_s", Double),
    Column("expected_finish_s", Double),
    # Whether the tallies count it: only what has ended is ever counted there.
    Column("is_tallied", Boolean, nullable=False, server_default=false()),
    CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state_is_known"),
    CheckConstraint("NOT (state = 'queued' AND cancel_requested)", name="queued_means_wanted"),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_means_leased"),
    Index("ix_jobs_owner_number", "owner", "number"),
    Index("ix_jobs_line", "state", "priority", "model", "tag", "number"),
    Index("ix_jobs_lane", "owner", "priority", "model", "state", "tag", "number"),
    Index("ix_jobs_lane_started", "owner", "priority", "model", "started_at"),
    Index("ix_jobs_started", "priority", "started_at"),
    Index("ix_jobs_idempotency", "owner", "idempotency_key", unique=True),
    sqlite_autoincrement=True,
)

# What is still to be forgotten, and nothing else.
_is_keyed = jobs.c.idempotency_key.is_not(None)
Index("ix_jobs_keyed", jobs.c.created_at, sqlite_where=_is_keyed, postgresql_where=_is_keyed)

# What the metrics count row by row: what waits, what runs, and what ended a moment ago.
is_untallied = jobs.c.is_tallied.is_(False)
Index(
    "ix_jobs_untallied",
    *(jobs.c.state, jobs.c.priority, jobs.c.model, jobs.c.cost, jobs.c.queued_at),
    *(jobs.c.attempt, jobs.c.losses, jobs.c.infra_failures),
    sqlite_where=is_untallied,
    postgresql_where=is_untallied,
)

# What not everybody who serves its model may take.
is_picky = or_(jobs.c.second_model.is_not(None), jobs.c.fingerprint.is_not(None))
Index("ix_jobs_picky", jobs.c.state, jobs.c.queued_at, sqlite_where=is_picky, postgresql_where=is_picky)

# Jobs about images; all others are what clients asked for.
is_internal = jobs.c.subject.is_not(None)
Index("ix_jobs_subject", jobs.c.subject, sqlite_where=is_internal, postgresql_where=is_internal)

tallies = Table(
    "tallies",
    metadata,
    # What was counted (claims, losses, give_backs, ended), and which kind of it: a state or an error code.
    Column("what", String(16), primary_key=True),
    Column("kind", String(64), primary_key=True),
    # Only ever grows: also when the jobs that were counted are deleted.
    Column("count", BigInteger, nullable=False),
)

choices = Table(
    "choices",
    metadata,
    # What whoever runs the service has chosen for all of its processes.
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

lanes = Table(
    "lanes",
    metadata,
    # Whose jobs wait, or did a moment ago: one row where the queue may have thousands.
    Column("owner", Text, primary_key=True),
    Column("priority", String(16), primary_key=True),
    Column("model", Text, primary_key=True),
    # When a job came in last.
    Column("used_at", Double, nullable=False),
)

principals = Table(
    "principals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("is_admin", Boolean, nullable=False),
    # Its share of the service, where an ordinary one is 1.
    Column("weight", Double, nullable=False),
    # How much it may ask for; NULL: what the settings say for every key, 0: no limit.
    Column("requests_per_minute", Integer),
    Column("queued_jobs", Integer),
    Column("job_cost", Double),
    Column("uploads_mb", Integer),
    Column("created_at", Double, nullable=False),
    CheckConstraint("weight > 0", name="weight_is_positive"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("principal", Text, ForeignKey("principals.name", ondelete="CASCADE"), nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    # From when on it lets nobody in.  It stays: a service that ever had keys never opens by itself again.
    Column("revoked_at", Double),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("key_id", String(16), ForeignKey("keys.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

images = Table(
    "images",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("key", Text, ForeignKey("files.key"), nullable=False),
    Column("thumbnail_key", Text, ForeignKey("files.key"), nullable=False),
    Column("model_revision", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    # Where its steps are kept: a list of files, each with the steps in it; null where none were.
    Column("trajectory", Json),
    Column("created_at", Double, nullable=False),
    # What is searched by, said once more here: an index reaches over one table.
    Column("task", Text, nullable=False, server_default=text("''")),
    Column("model", Text, nullable=False, server_default=text("''")),
    Column("sampler", Text, nullable=False, server_default=text("''")),
    Column("steps", Integer, nullable=False, server_default="0"),
    Column("words", Words()),
    # What its owner says of it.
    Column("favourite", Boolean, nullable=False, server_default=false()),
    Column("rating", Integer, nullable=False, server_default="0"),
    # Nobody sees it from then on; it can be restored until it is removed for good.
    Column("deleted_at", Double),
    UniqueConstraint("job_id", "index"),
    # In the order of a list, with all that narrows one: what does not fit is passed over within the index.
    Index(
        "ix_images_shelf",
        *("owner", "number", "deleted_at", "created_at", "task", "model", "sampler", "steps", "seed", "width"),
        *("height", "favourite", "rating"),
    ),
    sqlite_autoincrement=True,
)

_is_deleted = images.c.deleted_at.is_not(None)
Index("ix_images_deleted", images.c.deleted_at, sqlite_where=_is_deleted, postgresql_where=_is_deleted)

image_tags = Table(
    "image_tags",
    metadata,
    Column("number", Integer, ForeignKey("images.number", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True),
    # The image's, so that one index finds a list.
    Column("owner", Text, nullable=False),
    Index("ix_image_tags_owner_tag_number", "owner", "tag", "number"),
)

files = Table(
    "files",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    CheckConstraint("kind IN ('image', 'thumbnail', 'trajectory', 'decoded')", name="kind_is_known"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    # Never used again once its row is gone: whoever deletes the file after the row can only hit what nobody has.
    Column("key", Text, nullable=False, unique=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("marks", Json, nullable=False),
    # When somebody last wanted it: one that nothing pins is kept for a while from then on.
    Column("touched_at", Double, nullable=False, index=True),
)

job_inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("sha256", String(64), ForeignKey("blobs.sha256"), nullable=False, index=True),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("sha256", String(64), ForeignKey("blobs.sha256"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("revision", Text, nullable=False),
    Column("entry", Json, nullable=False),
    # When a worker that serves it last gave a sign of life.
    Column("served_at", Double, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("facts", Json, nullable=False),
    Column("seen_at", Double, nullable=False),
)

served_models = Table(
    "served_models",
    metadata,
    Column("worker", Text, ForeignKey("workers.name", ondelete="CASCADE"), primary_key=True),
    Column("model", Text, ForeignKey("models.name", ondelete="CASCADE"), primary_key=True),
)
