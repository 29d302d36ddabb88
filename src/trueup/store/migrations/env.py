"""Runs migrations on the connection and in the transaction that `store.migrate` hands over."""

from alembic import context

from trueup.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
)
context.run_migrations()
