"""Postgres clusters that tests may restart, lock, fill and fail over; services log in as they do for real."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from deploy.database import DATABASE, LOGINS, prepare
from deploy.embedded import THROW_AWAY, Postgres, free_ports
from deploy.processes import spawn
from tests.support import wait_until

PASSWORD = "secret"
SETTINGS = {
    **THROW_AWAY,
    "wal_level": "replica",
    "max_wal_senders": "4",
    "synchronous_commit": "remote_apply",
    "autovacuum": "on",
}


class Cluster:
    """One cluster on a port of its own; its data stay in its folder when it is started again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        (port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder.parent / f"{folder.name}.log"
        self.server = Postgres(folder / "data", port, PASSWORD, log, {**SETTINGS, **settings})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database, as a superuser."""
        return self.server.url(DATABASE)

    async def connect(self) -> asyncpg.Connection[Any]:
        """Connect as a superuser."""
        return await asyncpg.connect(self.url)

    async def started(self) -> None:
        """Start it and wait until it takes connections."""
        self.server.clear_away()
        process = self.process = spawn(self.server.program())
        await wait_until(lambda: self.server.is_ready(process.pid), timeout=30)

    def kill(self) -> None:
        """Kill it with -9, all of it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.server.clear_away()

    async def stopped(self) -> None:
        """Shut it down, fast and clean; what it asks of others is carried on meanwhile."""
        if self.process is not None:
            self.process.send_signal(self.server.program().stop_signal)
            await asyncio.to_thread(self.process.wait, 30)


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Cluster]:
    """Run a cluster with our database in it."""
    cluster.server.initialise()
    await cluster.started()
    try:
        await asyncio.to_thread(
            prepare, cluster.server.url("postgres"), cluster.url, dict.fromkeys(LOGINS, PASSWORD)
        )
        yield cluster
    finally:
        cluster.kill()


def stores(redis_url: str, *clusters: Cluster) -> dict[str, dict[str, str]]:
    """Return the settings of each service for a database on these clusters, tried in order."""
    hosts = ",".join(f"127.0.0.1:{cluster.server.port}" for cluster in clusters)
    return {
        user: {
            "DATABASE_URL": f"postgresql://{user}:{PASSWORD}@{hosts}/{DATABASE}",
            "REDIS_URL": redis_url,
        }
        for user in LOGINS
    }
