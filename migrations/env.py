"""Alembic's environment: it is handed a connection by `taskloom.store.migrate`."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
