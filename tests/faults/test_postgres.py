"""Postgres restarted, locked, full, refusing: nothing acknowledged is lost, callers are told in time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.clusters import Cluster, running, stores
from tests.faults.crowd import Crowd
from tests.faults.proof import ordeal
from tests.faults.rig import Rig, Stores, services
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES = ("score_service", "rank_service")
BACKENDS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1::text[])"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A cluster of our own: others would not like what happens to it."""
    async with running(Cluster(tmp_path_factory.mktemp("postgres"))) as cluster:
        yield cluster


@asynccontextmanager
async def rig_on(folder: Path, cluster: Cluster, redis_url: str, **settings: str) -> AsyncIterator[Rig]:
    found = stores(redis_url, cluster)
    values = {"DATABASE_URL": cluster.url, "REDIS_URL": redis_url}
    async with services(folder, Stores(values, *found.values()), **settings) as rig:
        yield rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, valkey: str) -> AsyncIterator[Rig]:
    async with rig_on(tmp_path_factory.mktemp("rig"), cluster, valkey) as rig:
        yield rig


def answered_clearly(crowd: Crowd) -> None:
    """Check that clients were told to come again, and nothing worse."""
    assert crowd.statuses[503], f"nobody noticed: {crowd.statuses}"
    assert not crowd.statuses["ReadTimeout"], f"hung past the deadline: {crowd.statuses}"


@asynccontextmanager
async def restarted(cluster: Cluster) -> AsyncIterator[None]:
    await cluster.stopped()
    yield
    await cluster.started()


@asynccontextmanager
async def refused(cluster: Cluster) -> AsyncIterator[None]:
    """Let the services have no connection any more: their limit is reached (53300)."""
    connection = await cluster.connect()
    for service in SERVICES:
        await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT 0")
    await connection.execute(BACKENDS, SERVICES)
    yield
    for service in SERVICES:
        await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT -1")
    await connection.close()


@asynccontextmanager
async def locked(cluster: Cluster, statement: str) -> AsyncIterator[None]:
    """Hold a lock that a stranger has taken."""
    connection = await cluster.connect()
    async with connection.transaction():
        await connection.execute(statement)
        yield
    await connection.close()


ROWS = "SELECT FROM entries FOR UPDATE"
TABLE = "LOCK TABLE entries IN ACCESS EXCLUSIVE MODE"


@pytest.mark.timeout(120)
async def test_a_restart_costs_no_session(rig: Rig, cluster: Cluster, rng: random.Random) -> None:
    answered_clearly(await ordeal(rig, rng, lambda: restarted(cluster), lasts=4.0))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_connections_left_is_said_and_healed(rig: Rig, cluster: Cluster, rng: random.Random) -> None:
    answered_clearly(await ordeal(rig, rng, lambda: refused(cluster), lasts=4.0))


@pytest.mark.timeout(120)
async def test_rows_locked_by_a_stranger_are_waited_for_a_while(
    rig: Rig, cluster: Cluster, rng: random.Random
) -> None:
    answered_clearly(await ordeal(rig, rng, lambda: locked(cluster, ROWS), lasts=3.0))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_table_locked_for_half_a_minute_leaves_nothing_behind(
    rig: Rig, cluster: Cluster, rng: random.Random
) -> None:
    answered_clearly(await ordeal(rig, rng, lambda: locked(cluster, TABLE), lasts=30.0))
    connection = await cluster.connect()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await wait_until(lambda: connection.fetchval(f"SELECT 0 = ({waiting})"))
    await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_statement_ended_by_its_timeout_is_said(
    tmp_path: Path, cluster: Cluster, valkey: str, rng: random.Random
) -> None:
    short = {"SCORE_STATEMENT_TIMEOUT_MS": "500", "STATEMENT_TIMEOUT_MS": "500"}
    async with rig_on(tmp_path, cluster, valkey, **short) as rig:
        answered_clearly(await ordeal(rig, rng, lambda: locked(cluster, TABLE), lasts=3.0))
        assert "QueryCanceledError" in rig.logs("score_service"), "no statement ran into its timeout"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_long_transaction_elsewhere_is_nobodys_business(
    rig: Rig, cluster: Cluster, rng: random.Random
) -> None:
    @asynccontextmanager
    async def reported() -> AsyncIterator[None]:
        connection = await cluster.connect()
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("SELECT txid_current()")
            for table in ("games", "leaderboards", "entries", "session_results", "game_sessions", "outbox"):
                await connection.execute(f"SELECT count(*) FROM {table}")
            yield
        await connection.close()

    crowd = await ordeal(rig, rng, reported, lasts=5.0)
    assert set(crowd.statuses) <= {200, 201, 404}, crowd.statuses


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small filesystem; skip where that is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if os.geteuid() != 0 or mounted.returncode:
        pytest.skip("a disk that can be filled takes a mount, which takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def filled(disk: Path) -> AsyncIterator[None]:
    """Fill a disk to the last byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65_536):
                pass
        except OSError:
            pass
    yield
    ballast.unlink()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_full_disk_refuses_and_recovers(tmp_path: Path, valkey: str, rng: random.Random) -> None:
    with small_disk(tmp_path / "disk", "160m") as disk:
        cluster = Cluster(disk / "cluster")
        cluster.server.initialise()
        # The log lies elsewhere: without room for that, Postgres stops, which is another test's matter.
        log = cluster.server.folder / "pg_wal"
        shutil.move(log, tmp_path / "wal")
        log.symlink_to(tmp_path / "wal")
        async with running(cluster), rig_on(tmp_path, cluster, valkey) as rig:
            answered_clearly(await ordeal(rig, rng, lambda: filled(disk), lasts=4.0))
            assert "DiskFull" in rig.logs("score_service"), "the disk was not full"
