"""A backup taken under load and restored elsewhere: rank by rank what the source held then."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.backup import backup, restore
from score_service.migrations import migrate
from tests.faults.crowd import Crowd
from tests.faults.fleet import Fleet, running
from tests.faults.state import answered, check, history
from tests.model import Game
from tests.support import wait_until

log = logging.getLogger(__name__)


@pytest.fixture
async def elsewhere(redis_url: str) -> AsyncIterator[str]:
    """Another database of the same Valkey, empty before and after."""
    url = f"{redis_url.rpartition('/')[0]}/9"
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
        yield url
        await redis.flushdb()


async def recorded(database_url: str, game: str) -> Game:
    connection = await asyncpg.connect(database_url)
    try:
        return await history(connection, game)
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_a_backup_under_load_holds_is_served_again_rank_by_rank(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    empty_database_url: str,
    elsewhere: str,
    rng: random.Random,
) -> None:
    source = Fleet(tmp_path, database_url, redis_url)
    async with running(*source.replicas), source.client() as api:
        crowd = Crowd(api, rng)
        await crowd.prepare()
        game = crowd.path.rpartition("/")[2]
        async with crowd.playing():
            await wait_until(lambda: len(crowd.acknowledged) > 100, timeout=60)
            before = set(crowd.acknowledged)
            began = time.monotonic()
            await asyncio.to_thread(backup, database_url, tmp_path / "b.dump")
            dumped = time.monotonic()
            sent = set(crowd.sent)
            await wait_until(lambda: len(crowd.acknowledged) > len(sent) + 50, timeout=60)
        original = await check(source.values, api, game)
    assert not crowd.wrong

    restoring = time.monotonic()
    await asyncio.to_thread(restore, empty_database_url, tmp_path / "b.dump")
    await asyncio.to_thread(migrate, empty_database_url)
    copy = Fleet(tmp_path, empty_database_url, elsewhere)
    async with running(*copy.replicas), copy.client() as api:
        held = await recorded(empty_database_url, game)
        # All that was acknowledged before it began, nothing that was sent after it had ended.
        assert before <= {str(session_id) for session_id in held.sessions} <= sent
        for session_id in original.sessions.keys() - held.sessions.keys():
            del original.sessions[session_id]
        assert held.sessions == original.sessions
        for board in original.boards:
            assert await answered(api, game, board) == original.standings(board), board
        await check(copy.values, api, game)
        served = time.monotonic()
        reply = await api.post(f"{crowd.path}/sessions", json={"results": [{"user_id": "ada", "score": 1}]})
        assert reply.status_code == 201
    log.info("dumped in %.1f s, restored and proved in %.1f s", dumped - began, served - restoring)
