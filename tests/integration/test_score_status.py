"""How the whole does, as an operator sees it."""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis

from shared.heartbeat import KEY
from tests.score import score_service
from tests.support import wait_until


async def test_status_tells_stores_outbox_and_who_is_alive(
    database_url: str, redis_url: str, redis: Redis
) -> None:
    async with score_service(database_url, redis_url) as score:
        await redis.hset(KEY, "rank_service/old", stale("rank_service"))
        await wait_until(lambda: redis.hlen(KEY), timeout=5)
        status = await score.state["watcher"].look()
    assert (status.postgres.ok, status.redis.ok) == (True, True)
    assert status.outbox is not None
    assert status.outbox.batches == 0
    assert [beat.service for beat in status.services] == ["score_service"]
    assert status.services[0].facts == {"sessions_waiting": 0}
    assert not await redis.hexists(KEY, "rank_service/old")


async def test_without_redis_status_says_so(database_url: str) -> None:
    async with score_service(database_url, "redis://127.0.0.1:1/0") as score:
        status = await score.state["watcher"].look()
    assert (status.postgres.ok, status.redis.ok) == (True, False)
    assert len(status.services) == 1


def stale(service: str) -> bytes:
    moment = "2026-01-01T00:00:00Z"
    return msgspec.json.encode(
        {"service": service, "instance": "old", "started_at": moment, "seen_at": moment, "facts": {}}
    )
