"""Runs migrations on the connection and in the transaction that `store.migrate` hands over."""

from alembic import context

from trueup.store import indexes, schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=indexes.metadata,
    version_table=schema.VERSION_TABLE,
)
context.run_migrations()
