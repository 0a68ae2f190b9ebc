"""What alembic runs: `backends.database` gives the connection, in a transaction of its own."""

from __future__ import annotations

from alembic import context

from backends.database import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
