"""How Alembic reaches the database: over psycopg, one migrator at a time, never waiting long for a table."""

from __future__ import annotations

import psycopg
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from score_service.migrations import MIGRATOR


def connect() -> psycopg.Connection:
    """Connect, and wait for one's turn.

    A minute for another migrator to finish; but five seconds for a table, because whoever waits
    for an exclusive lock holds up everyone who comes after.
    """
    connection = psycopg.connect(
        context.config.attributes["database_url"], autocommit=True, connect_timeout=10
    )
    connection.execute("SET lock_timeout = '60s'")
    connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATOR,))
    connection.execute("SET lock_timeout = '5s'")
    connection.autocommit = False
    return connection


# The engine needs a name to know the dialect; the connection is ours, so the DSN reaches libpq as it is.
engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
