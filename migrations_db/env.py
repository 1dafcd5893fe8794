"""How Alembic runs here: on a connection that app/store/schema.py hands over, in the transaction that holds its lock."""

from __future__ import annotations

from alembic import context

from app.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
