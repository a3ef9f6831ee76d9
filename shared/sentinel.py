"""How a Redis is found: at its address, or by asking Sentinels who the master is now.

`redis+sentinel://[user:password@]host:port,host:port/name[/db]`: the Sentinels, and what they call the
master. User and password are the master's; `?sentinel_password=` is theirs, where they ask for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

SCHEME = "redis+sentinel://"
PORT = 26_379


class Source(NamedTuple):
    """Makes connections to a Redis, whoever that is when they are made."""

    pool: ConnectionPool
    sentinel: Sentinel | None

    async def close(self) -> None:
        """Close what was opened to find it."""
        await self.pool.disconnect()
        if self.sentinel is not None:
            await self.sentinel.aclose()


def find(url: str, *, timeout: float) -> Source:
    """Return where the connections to the Redis of `url` come from; `timeout` bounds each step of the way.

    Raises:
        ValueError: this is no such URL.
    """
    if not url.startswith(SCHEME):
        return Source(
            ConnectionPool.from_url(
                url, socket_timeout=None, socket_connect_timeout=timeout, decode_responses=False
            ),
            None,
        )
    parts = urlsplit(url)
    secrets, _, hosts = parts.netloc.rpartition("@")
    user, _, password = secrets.partition(":")
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise ValueError(f"{SCHEME}...: the path must name the master, as in /mymaster")
    query = parse_qs(parts.query)
    patience: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_address(each) for each in hosts.split(",")],
        # Not asked again: the next one is.
        sentinel_kwargs={
            **patience,
            "retry": Retry(NoBackoff(), 0),
            "password": query.get("sentinel_password", [None])[0],
        },
    )
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name,
        sentinel,
        username=unquote(user) or None,
        password=unquote(password) or None,
        db=int(database or 0),
        socket_timeout=None,
        socket_connect_timeout=timeout,
    )
    return Source(pool, sentinel)


@asynccontextmanager
async def client(url: str, *, timeout: float) -> AsyncIterator[Redis]:
    """Open a plain client of the Redis of `url`."""
    source = find(url, timeout=timeout)
    try:
        async with Redis(connection_pool=source.pool) as opened:
            yield opened
    finally:
        await source.close()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if colon and not text.endswith("]") else (text.strip("[]"), PORT)
