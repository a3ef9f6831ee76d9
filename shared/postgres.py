"""Connections to Postgres: a bounded pool, errors translated once, the server's identity noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg
from prometheus_client import Gauge

from shared.errors import StoreUnavailable

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

OPEN = Gauge("leaderboard_pool_connections", "Connections to Postgres that are open.", ["pool"])
IDLE = Gauge("leaderboard_pool_idle_connections", "Those of them that nobody uses.", ["pool"])

# A server that cannot serve now, as opposed to a statement that is wrong: class 08 (connection),
# 53 (resources: disk full, too many connections), 57P (shutdown, statement_timeout's 57014),
# 25006 (read-only, a standby), 55 (not ready, lock_timeout), 58 (I/O errors), and a server that lets
# us in no longer: 28 (authorization), 3D (no such database).
UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    # Raised by a connection whose server has said goodbye and whose end has not been read yet.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

IDENTITY = """
SELECT system_identifier::text || ':' ||
       CASE WHEN pg_is_in_recovery() THEN 'standby'
            ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
  FROM pg_control_system()
"""


@contextmanager
def translated() -> Any:
    """Turn the driver's "the server cannot serve" errors into StoreUnavailable."""
    try:
        yield
    except UNAVAILABLE as error:
        raise StoreUnavailable(f"postgres is unavailable: {error!r}") from error


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    size: int,
    timeout: float,
    name: str,
    on_identity: Callable[[str], None],
    statement_timeout_ms: int,
    standby: bool = False,
) -> AsyncIterator[Pool]:
    """Open a pool of at most `size` connections that are made when needed.

    Args:
        dsn: several hosts are tried in order; the primary is chosen.
        size: the most connections.
        timeout: seconds a connect may take.
        name: shown in pg_stat_activity.
        on_identity: told the system identifier and timeline on every new connection.
        statement_timeout_ms: the server ends a statement after this long.
        standby: choose a standby where there is one.
    """
    chosen = asyncpg.connect_utils.SessionAttribute

    async def greet(connection: Connection) -> None:
        on_identity(await connection.fetchval(IDENTITY))

    async def keep(_: Connection) -> None:
        """Skip the round trip that resets a returned connection: nothing we do outlives a transaction."""

    pool: Pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=timeout,
        init=greet,
        reset=keep,
        target_session_attrs=chosen.prefer_standby if standby else chosen.read_write,
        server_settings={
            "application_name": name,
            "statement_timeout": str(statement_timeout_ms),
            "idle_in_transaction_session_timeout": "30000",
            "jit": "off",  # short statements: compiling them costs more than it saves
        },
    )
    async with pool:
        OPEN.labels(name).set_function(pool.get_size)
        IDLE.labels(name).set_function(pool.get_idle_size)
        yield pool
