"""Alembic's entry: runs the migrations in the transaction that `migrate` hands over."""

from alembic import context

from app.jobs.columns import is_plain, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=is_plain,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
