"""A Redis lost for good: Sentinels promote a replica that lags behind, and nobody sees a wrong rank."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.sentinel import client
from tests.faults.proof import ordeal
from tests.faults.rig import Rig, Stores, services
from tests.faults.valkeys import Server, running, sentinels
from tests.proxy import Wire, wire
from tests.support import wait_until


class Trio:
    """A master, its replica over a wire that can go silent, and the URL of the Sentinels that watch both."""

    def __init__(self, master: Server, replica: Server, line: Wire, url: str) -> None:
        self.master = master
        self.replica = replica
        self.line = line
        self.url = url

    async def follows(self) -> bool:
        """Say whether the replica follows, and the Sentinels know it."""
        async with self.replica.client() as redis:
            link = (await redis.info("replication")).get("master_link_status")
        return link == "up" and all([await self.knows(address) for address in self.hosts])

    @property
    def hosts(self) -> list[str]:
        return self.url.partition("@")[2].partition("/")[0].split(",")

    async def knows(self, address: str) -> bool:
        """Say whether a Sentinel knows the replica and both other Sentinels."""
        async with Redis.from_url(f"redis://{address}") as sentinel:
            masters: Any = await sentinel.sentinel_masters()
        seen = masters.get("ours")
        return bool(seen and seen["num-slaves"] and seen["num-other-sentinels"] == 2)

    async def master_port(self) -> int:
        """Return the port of whoever is the master now."""
        async with client(self.url, timeout=2) as redis:
            found: Any = await redis.config_get("port")
        return int(found["port"])


@asynccontextmanager
async def trio(folder: Path) -> AsyncIterator[Trio]:
    async with running(Server(folder / "master")) as master, wire(master.url) as line:
        port = line.url.rpartition(":")[2].partition("/")[0]
        # Announced: where the replica really is, for Sentinel; it reaches its master over the wire only.
        options = ("--replicaof", f"127.0.0.1 {port}", "--repl-diskless-sync-delay", "0")
        async with running(Server(folder / "replica", *options)) as replica:
            with sentinels(folder, master) as url:
                found = Trio(master, replica, line, url)
                await wait_until(found.follows, timeout=30)
                yield found


@asynccontextmanager
async def lost(trio: Trio) -> AsyncIterator[None]:
    """Let the replica fall behind, then kill the master; the Sentinels have another soon."""
    trio.line.silent = True
    yield
    trio.master.kill()
    await trio.line.cut()

    async def promoted() -> bool:
        try:
            return await trio.master_port() == trio.replica.port
        except Exception:  # noqa: BLE001  whatever goes wrong while nobody is the master
            return False

    await wait_until(promoted, timeout=30)


@asynccontextmanager
async def rig_on(folder: Path, database_url: str, trio: Trio) -> AsyncIterator[Rig]:
    environ = {"DATABASE_URL": database_url, "REDIS_URL": trio.url}
    values = {"DATABASE_URL": database_url, "REDIS_URL": trio.replica.url}
    async with services(folder, Stores(values, environ, environ)) as rig:
        yield rig


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_replica_that_lags_behind_takes_over(
    tmp_path: Path, database_url: str, rng: random.Random
) -> None:
    async with trio(tmp_path) as found, rig_on(tmp_path, database_url, found) as rig:
        crowd = await ordeal(rig, rng, lambda: lost(found))
    errors = {status: n for status, n in crowd.statuses.items() if status not in (200, 201, 404)}
    assert not errors, f"a failover of Redis costs no answer, but there were {errors}"
