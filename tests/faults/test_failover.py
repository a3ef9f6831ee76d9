"""A Postgres lost for good: its standby takes over, and has all that was ever acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from shared.errors import StoreUnavailable
from shared.names import uuid7
from tests import servers
from tests.faults.clusters import Cluster, running, stores
from tests.faults.proof import ordeal
from tests.faults.rig import Stores, services
from tests.proxy import wire
from tests.rank import Rank, rank_service
from tests.score import score_service
from tests.support import wait_until

pytestmark = pytest.mark.slow


class Pair(NamedTuple):
    """A primary whose commits wait for its standby."""

    primary: Cluster
    standby: Cluster


@asynccontextmanager
async def replicated(folder: Path) -> AsyncIterator[Pair]:
    async with running(Cluster(folder / "primary")) as primary:
        standby = Cluster(folder / "standby")
        await asyncio.to_thread(servers.copy_of, primary.server, standby.server.folder)
        await standby.started()
        try:
            connection = await primary.connect()
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            follows = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            await wait_until(lambda: connection.fetchval(follows), timeout=20)
            await connection.close()
            yield Pair(primary, standby)
        finally:
            standby.kill()


async def promote(standby: Cluster) -> None:
    connection = await standby.connect()
    assert await connection.fetchval("SELECT pg_promote()")
    await connection.close()


@pytest.mark.timeout(180)
async def test_a_promoted_standby_has_every_acknowledged_session(
    tmp_path: Path, valkey: str, rng: random.Random
) -> None:
    async with replicated(tmp_path) as (primary, standby):

        @asynccontextmanager
        async def lost() -> AsyncIterator[None]:
            primary.kill()
            yield
            await promote(standby)

        found = stores(valkey, primary, standby)
        values = {"DATABASE_URL": standby.url, "REDIS_URL": valkey}
        async with services(tmp_path, Stores(values, *found.values())) as rig:
            crowd = await ordeal(rig, rng, lost, lasts=3.0)
    assert crowd.statuses[503], f"nobody noticed: {crowd.statuses}"
    assert not crowd.statuses["ReadTimeout"], f"hung past the deadline: {crowd.statuses}"


@pytest.mark.timeout(180)
async def test_what_no_standby_has_is_never_acknowledged(tmp_path: Path, valkey: str) -> None:
    """A COMMIT that is cancelled while it waits for a standby counts as done: nothing may cancel it."""
    soon: dict[str, Any] = {
        "score_statement_timeout_ms": 300,
        "score_answer_ms": 900,
        "score_retry_ms": 900,
    }
    async with (
        replicated(tmp_path) as (primary, standby),
        score_service(primary.url, valkey, **soon) as score,
    ):
        await score.define()
        await standby.stopped()
        session_id = str(uuid7())
        for _ in range(4):
            with pytest.raises((StoreUnavailable, TimeoutError)):
                await score.post(("ada", 5), session_id=session_id, timeout=5)
        connection: asyncpg.Connection[Any] = await primary.connect()
        assert await connection.fetchval("SELECT count(*) FROM game_sessions") == 0, "others see it already"
        await connection.close()
        await standby.started()
        answer, _ = await score.post(("ada", 5), session_id=session_id, timeout=10)
        assert answer.results[0].entries[0].score == 5


async def shown(rank: Rank) -> int:
    """Return the score the standings have, or the status that came instead."""
    reply = await rank.client.get("/v1/games/demo/leaderboards/global/top")
    entries = reply.json().get("entries")
    return int(entries[0]["score"]) if entries else reply.status_code


@pytest.mark.timeout(120)
async def test_an_old_primary_that_still_answers_is_left_by_readers_and_writers(
    tmp_path: Path, redis_url: str, redis: Redis
) -> None:
    async with replicated(tmp_path) as (primary, standby), AsyncExitStack() as stack:
        both, old = (stores(redis_url, *each) for each in ((primary, standby), (primary,)))
        cable = await stack.enter_async_context(wire(old["score_service"]["DATABASE_URL"]))
        cut_off = f"{cable.url.rpartition('/')[0]},127.0.0.1:{standby.server.port}{urlsplit(cable.url).path}"
        score, late = [
            await stack.enter_async_context(score_service(url, redis_url))
            for url in (cut_off, both["score_service"]["DATABASE_URL"])
        ]
        rank, lonely = [
            await stack.enter_async_context(rank_service(each["rank_service"]["DATABASE_URL"], redis_url))
            for each in (both, old)
        ]
        await score.define()
        await late.post(("ada", 5))
        await wait_until(lambda: shows(5, rank, lonely))
        await promote(standby)
        await cable.cut()  # the primary lives on, but out of reach of one who writes
        await score.post(("ada", 5))
        # Who can reach the old one only still reads what others have loaded from its successor.
        await wait_until(lambda: shows(10, rank, lonely))
        answer, _ = await late.post(("ada", 1))
        assert answer.results[0].entries[0].score == 11
        await redis.flushall()
        assert await shown(lonely) == 503
        assert await shown(rank) == 11


async def shows(score: int, *readers: Rank) -> bool:
    """Tell whether all have a score; each is asked."""
    return {await shown(each) for each in readers} == {score}
