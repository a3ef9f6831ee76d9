"""Connections to Postgres: a bounded pool, no endless waits, errors translated once, the server known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from prometheus_client import Counter, Gauge

from shared import tracing
from shared.errors import StoreUnavailable
from shared.primaries import OLD, OldPrimary, Primaries

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

GRACE = 0.5
"""Seconds a server may take, past its own timeout, to tell us that a statement has run into it."""

GIVEN_UP = Counter("leaderboard_pool_given_up_total", "Connections whose server did not answer.", ["pool"])
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

SERVER_SETTINGS = {
    "idle_in_transaction_session_timeout": "30000",
    # A statement that waits for a lock ends when we are gone, not when it has got it.
    "client_connection_check_interval": "1000",
    "jit": "off",  # short statements: compiling them costs more than it saves
}

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


class Bounded(asyncpg.Connection):
    """A connection that is given up when an answer does not come in time.

    The server's own timeouts do not help against one that is gone without a word. asyncpg's would not
    either: they ask it to cancel, over another connection, and wait for that. Worse, a COMMIT that waits
    for a standby and is cancelled counts as done, although a failover would lose it.
    """

    patience = 5.0
    """Seconds an answer may take."""

    usual = patience
    longest = patience
    name = ""
    identity = ""
    """System identifier and timeline of the server; `standby` where it is none of a primary."""

    primaries = Primaries()
    given_up = False
    is_new = True
    """Nobody has made sure yet that what is known holds on its server too (see `is_new`)."""

    expire: Callable[[], Awaitable[None]] | None = None
    """Marks the pool's other connections as not to be used again: they lead to the same server."""

    async def in_time(self, answer: Awaitable[T]) -> T:
        """Wait for an answer; give the connection up when it does not come, or is an old primary's."""
        timer = asyncio.get_running_loop().call_later(self.patience, self._give_up)
        try:
            answered = await answer
        finally:
            timer.cancel()
            if is_old := self.primaries.is_old(self.identity):
                OLD.labels(self.name).inc()
                self.terminate()
            if (is_old or self.given_up) and self.expire is not None:
                await self.expire()
        if is_old:
            raise OldPrimary(f"{self.identity} has a successor: {self.primaries.newest}")
        return answered

    def take_time(self, longest: float | None) -> None:
        """Be as patient as the server, until the connection is given back."""
        self.patience = longest or self.longest

    def first_look(self) -> bool:
        """Say whether this was not asked before."""
        was_new, self.is_new = self.is_new, False
        return was_new

    def _give_up(self) -> None:
        self.given_up = True
        GIVEN_UP.labels(self.name).inc()
        log.warning("postgres did not answer within %g s: a connection is given up", self.patience)
        self.terminate()

    async def fetch(self, *args: Any, **options: Any) -> Any:
        """Run a query in time."""
        return await self.in_time(super().fetch(*args, **options))

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        """Run a query in time."""
        return await self.in_time(super().fetchrow(*args, **options))

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        """Run a query in time."""
        return await self.in_time(super().fetchval(*args, **options))

    async def execute(self, *args: Any, **options: Any) -> str:
        """Run a command in time."""
        return await self.in_time(super().execute(*args, **options))


@asynccontextmanager
async def slowly(pool: Pool, longest: float | None = None) -> AsyncIterator[Connection]:
    """Take a connection for work whose statements may take as long as the server lets them.

    Args:
        longest: seconds, where the work sets a `statement_timeout` of its own.
    """
    async with pool.acquire() as connection:
        held: Any = connection
        held.take_time(longest)
        yield connection


def is_new(connection: Connection) -> bool:
    """Say, once for each connection, that it may lead to another server than those before it.

    After a failover what was learned over older ones need not be so: the end of their history may be lost.
    """
    held: Any = connection
    return bool(held.first_look())


def in_time(connection: Connection, answer: Awaitable[T]) -> Awaitable[T]:
    """Wait for an answer that does not come through the connection's own methods: a cursor's."""
    held: Any = connection
    waiting: Awaitable[T] = held.in_time(answer)
    return waiting


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    size: int,
    timeout: float,
    name: str,
    on_identity: Callable[[str], None],
    statement_timeout_ms: int,
    patience: float | None = None,
    standby: bool = False,
    traced: bool = False,
    primaries: Primaries | None = None,
) -> AsyncIterator[Pool]:
    """Open a pool of at most `size` connections that are made when needed.

    Args:
        dsn: several hosts are tried in order; the primary is chosen, of several the newest.
        size: the most connections.
        timeout: seconds a connect may take.
        name: shown in pg_stat_activity.
        on_identity: told the system identifier and timeline on every new connection.
        statement_timeout_ms: the server ends a statement after this long.
        patience: seconds after which a connection without an answer is given up; by default a little
            more than the statement timeout. See `slowly`.
        standby: choose a standby where there is one.
        traced: tell of every statement, for traces.
        primaries: what is known of primaries by others.
    """
    known = primaries or Primaries()
    chosen = asyncpg.connect_utils.SessionAttribute

    longest = statement_timeout_ms / 1000 + GRACE
    GIVEN_UP.labels(name)
    OLD.labels(name)

    async def greet(connection: Any) -> None:
        connection.name, connection.expire = name, pool.expire_connections
        connection.patience = connection.usual = patience or longest
        connection.longest = longest
        connection.primaries = known
        on_identity(connection.identity)
        known.note(connection.identity)
        if traced:
            connection.add_query_logger(tracing.statement)

    async def keep(connection: Any) -> None:
        """Skip the round trip that resets a returned connection: nothing we do outlives a transaction."""
        connection.patience = connection.usual

    connect: Any = partial(_connect, known, name)  # looser typed than the stubs have it
    pool: Pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        connect=connect,
        connection_class=Bounded,
        timeout=timeout,
        init=greet,
        reset=keep,
        target_session_attrs=chosen.prefer_standby if standby else chosen.read_write,
        server_settings={
            **SERVER_SETTINGS,
            "application_name": name,
            "statement_timeout": str(statement_timeout_ms),
        },
    )
    async with pool:
        OPEN.labels(name).set_function(pool.get_size)
        IDLE.labels(name).set_function(pool.get_idle_size)
        yield pool


async def _connect(known: Primaries, name: str, hosts: str, **options: Any) -> Any:
    """Connect; when that leads to an old primary, look for its successor at the other hosts."""
    for each in (hosts, *_one_by_one(hosts)):
        try:
            connection: Any = await asyncpg.connect(each, **options)
        except UNAVAILABLE:
            if each == hosts:
                raise
            continue
        connection.identity = await _identity(connection)
        if not known.is_old(connection.identity):
            return connection
        OLD.labels(name).inc()
        connection.terminate()
    raise OldPrimary(f"nobody leads to {known.newest}")


async def _identity(connection: Connection) -> str:
    try:
        return str(await connection.fetchval(IDENTITY))
    except BaseException:
        connection.terminate()
        raise


def _one_by_one(dsn: str) -> list[str]:
    """Return a DSN for each host of one that names several."""
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return []
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]
