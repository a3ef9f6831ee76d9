"""One connection to Redis (or Valkey) whose callers know which server they are talking to.

The ranking index must notice a Redis that was restarted, restored or failed over, so the server's
identity is read on every new connection and belongs to it: a command built for one server is never
sent to another. That rules out a pool that reconnects unasked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared import tracing
from shared.errors import StoreUnavailable
from shared.sentinel import find

log = logging.getLogger(__name__)

_LUA = Path(__file__).parent / "lua"
_COMMON = (_LUA / "common.lua").read_text()
SCRIPTS = {
    path.stem: _COMMON + path.read_text() for path in sorted(_LUA.glob("*.lua")) if path.stem != "common"
}
SHA = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()}

_SCRIPT_NAMES = {sha: name for name, sha in SHA.items()}

RETRY_AFTER = 0.25
"""Seconds after a failed connect in which callers are turned away at once."""

NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a reply of a wrong type, length or content raises, in our code and in redis-py's handshake."""

BELIEVED = 2.0
"""Seconds a server's identity is believed: its replication id changes on connections that stay, when it is
promoted, or has had no replica for an hour."""

Command = tuple[Any, ...]

_WHO: tuple[Command, ...] = (("INFO", "server"), ("INFO", "replication"))

ORIGIN: Any = object()
"""Stands in a command for where a copy was made: known only once it is known who gets the command."""

ORIGIN_AT = 7
"""Where it stands: EVALSHA, sha, 4, four keys, origin, ..."""


class Line(Protocol):
    """A way to Redis: one server, or the nodes of a cluster (`shared.cluster.open_line` tells)."""

    async def connect(self) -> str:
        """Make sure that somebody answers."""

    async def send(self, commands: Sequence[Command], database: str = "") -> list[Any]:
        """Run commands in one round trip to whoever is concerned; return a reply for each.

        An error reply of one command is returned in its place; `database` is what goes into ORIGIN
        beside the server's identity.

        Raises:
            StoreUnavailable: somebody concerned cannot be reached, or did not answer in time.
        """

    async def at(self, key: str) -> Wire:
        """Return the wire to the server that has a key."""

    async def urls(self) -> list[str]:
        """Return the URLs of all servers: all events can be heard on the first, which answers."""

    async def close(self) -> None:
        """Close every connection."""


class Wire:
    """A single connection, one round trip at a time; connects when it is needed.

    Args:
        url: `redis://[user:password@]host:port/db`, or Sentinels (see `shared.sentinel`).
        timeout: seconds a connect or a round trip may take.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._url = url
        self._source = find(url, timeout=timeout)
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()
        self._closed_until = 0.0
        self._asked_at = 0.0
        self.identity = ""
        """Run id and replication id of the server connected to; empty when not connected."""

    async def connect(self) -> str:
        """Make sure there is a connection; return the server's identity.

        Raises:
            StoreUnavailable: no server answers.
        """
        async with self._lock:
            await self._ensure()
        return self.identity

    async def round_trip(self, identity: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands that were built for the server `identity`; return a reply for each.

        An error reply of one command is returned in its place. Raises StoreUnavailable when the
        connection is to another server by now, fails, or takes too long.
        """
        async with self._lock:
            await self._ensure()
            if self.identity != identity:
                raise StoreUnavailable("redis is another server than a moment ago")
            span = tracing.CURRENT.get()
            if span is None:
                return await self._exchange(commands)
            with span.child(f"Redis {_first(commands)}", _described(commands)):
                return await self._exchange(commands)

    async def send(self, commands: Sequence[Command], database: str = "") -> list[Any]:
        """Run commands for whichever server is connected to; see `Line`."""
        identity = await self.connect()
        origin = f"{identity}|{database}"
        filled = [
            (*command[:ORIGIN_AT], origin, *command[ORIGIN_AT + 1 :])
            if len(command) > ORIGIN_AT and command[ORIGIN_AT] is ORIGIN
            else command
            for command in commands
        ]
        return await self.round_trip(identity, filled)

    async def at(self, _: str) -> Wire:
        """Return itself: it has every key."""
        return self

    async def urls(self) -> list[str]:
        """Return the server's URL."""
        return [self._url]

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()
        await self._source.close()

    async def _ensure(self) -> None:
        loop = asyncio.get_running_loop()
        if self._connection is not None and self._connection.is_connected:
            if loop.time() - self._asked_at > BELIEVED:
                try:
                    self._identified(await self._exchange(_WHO), loop.time())
                except (RedisError, *NONSENSE) as error:
                    await self._drop()
                    raise StoreUnavailable(f"redis does not say who it is: {error}") from error
            return
        if loop.time() < self._closed_until:
            raise StoreUnavailable("redis is not reachable")
        await self._drop()
        connection: AbstractConnection = self._source.pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._timeout * 4):
                await connection.connect()  # type: ignore[no-untyped-call]
                self._connection = connection
                texts = [("SCRIPT", "LOAD", text) for text in SCRIPTS.values()]
                self._identified(await self._exchange([*_WHO, *texts]), loop.time())
        except (RedisError, OSError, TimeoutError, *NONSENSE) as error:
            self._closed_until = loop.time() + RETRY_AFTER
            await connection.disconnect(nowait=True)
            await self._drop()
            raise StoreUnavailable(f"redis is not reachable: {error}") from error

    def _identified(self, replies: Sequence[Any], now: float) -> None:
        """Read who the server is from its replies to `_WHO`."""
        server, replication, *_ = replies
        self.identity = f"{_field(server, b'run_id')}:{_field(replication, b'master_replid')}"
        self._asked_at = now

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("redis is not connected")
        whole = False
        try:
            async with asyncio.timeout(self._timeout):
                # hiredis packs in C, at an eighth of the cost of redis-py's own packing.
                packed = list(map(hiredis.pack_command, commands))
                await connection.send_packed_command(packed, check_health=False)
                replies = [await _reply(connection) for _ in commands]
            whole = True
        # RuntimeError: uvloop's, for writing to a connection whose end has not reached redis-py yet.
        except (RedisError, OSError, TimeoutError, RuntimeError) as error:
            raise StoreUnavailable(f"redis did not answer: {type(error).__name__}: {error}") from error
        finally:
            # A connection with answers outstanding is never used again, also when cancelled.
            if not whole:
                await self._drop()
        for reply in replies:
            if isinstance(reply, NoScriptError):  # SCRIPT FLUSH: connect anew, which loads them
                await self._drop()
                raise StoreUnavailable("redis lost its scripts") from reply
        return replies

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.identity = ""
        if connection is not None:
            await connection.disconnect(nowait=True)


def key_of(command: Command) -> str | None:
    """Return the key that tells which node of a cluster a command is for; None: any will do."""
    name = command[0]
    if name == "PUBLISH":
        return None
    key: str = command[3] if name == "EVALSHA" else command[1]
    return key


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _called(command: Command) -> str:
    return _SCRIPT_NAMES.get(command[1], "") if command[0] == "EVALSHA" else str(command[0])


def _first(commands: Sequence[Command]) -> str:
    return _called(commands[0]) if commands else "nothing"


def _described(commands: Sequence[Command]) -> dict[str, str | int]:
    names = " ".join(dict.fromkeys(map(_called, commands)))
    return {"db.system.name": "redis", "db.operation.name": names, "db.operation.batch.size": len(commands)}


def _field(info: Any, name: bytes) -> str:
    if not isinstance(info, bytes):
        raise ResponseError(f"INFO was refused: {info!r}")
    for line in info.splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return value.decode()
    raise ResponseError(f"INFO has no {name.decode()}")
