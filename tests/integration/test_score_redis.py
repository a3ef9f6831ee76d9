"""The index beside the truth: lost, late or away, it costs ranks in an answer, never a score."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from score_service.committer import Committer
from score_service.history import History
from score_service.worker import Outbox
from shared.index import Lookup, RankingIndex, read_lookup
from shared.messages import EntryChange, SessionOut
from shared.names import uuid7
from shared.postgres import IDENTITY, Pool
from shared.ranking import Ranking
from shared.wire import Wire as RedisWire
from tests.proxy import Wire, wire
from tests.score import Score, score_service
from tests.support import wait_until

RANKING = Ranking(1, 1, 0, "competition", "desc")
EMPTY_OUTBOX = "SELECT NOT EXISTS (SELECT FROM outbox)"


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Wire]:
    async with wire(redis_url) as line:
        yield line


@pytest.fixture
async def score(database_url: str, line: Wire) -> AsyncIterator[Score]:
    async with score_service(database_url, line.url) as score:
        await score.define()
        yield score


def change(answer: SessionOut) -> EntryChange:
    return answer.results[0].entries[0]


async def ranks(redis_url: str, pool: Pool, *users: str) -> list[int | None] | None:
    """Ask the index itself; None when it is not ready."""
    link = RedisWire(redis_url, timeout=2)
    index = RankingIndex(link, idle_ms=60_000)
    index.database_identity = await pool.fetchval(IDENTITY)
    reply = read_lookup(RANKING, (await index.send([index.lookup(RANKING, users)]))[0])
    await link.close()
    return [place and place.rank for place in reply.places] if isinstance(reply, Lookup) else None


async def test_batches_that_wait_for_a_slow_redis_are_applied_together(
    score: Score, line: Wire, pool: Pool
) -> None:
    """One by one they would take six seconds, and those behind more than their callers wait."""
    await score.post(("ada", 1))
    line.delay = 0.05
    posts = []
    for n in range(60):
        posts.append(asyncio.create_task(score.post((f"u{n}", 1), timeout=4.0)))
        await wait_until(lambda: pool.fetchval("SELECT count(*) = $1 FROM game_sessions", len(posts) + 1))
    answers = await asyncio.gather(*posts)
    line.delay = 0.0
    assert all(change(answer).rank == 1 for answer, _ in answers)
    assert [change(answer).ties for answer, _ in answers] == [*range(2, 62)]


async def test_a_session_is_answered_without_ranks_when_they_do_not_come_in_time(
    database_url: str, line: Wire, pool: Pool
) -> None:
    async with score_service(database_url, line.url, redis_timeout_ms=1500) as score:
        await score.define()
        await score.post(("ada", 1))
        line.silent = True
        answer, _ = await score.post(("ada", 5), timeout=0.5)
        assert (change(answer).score, change(answer).rank, change(answer).previous_rank) == (6, None, None)
        line.silent = False


async def test_with_redis_away_scores_are_recorded_and_the_outbox_brings_them_later(
    score: Score, line: Wire, pool: Pool, redis_url: str
) -> None:
    await score.post(("ada", 1), ("bob", 2))
    await line.cut()
    answer, _ = await score.post(("ada", 5))
    assert (change(answer).score, change(answer).rank, change(answer).previous_rank) == (6, None, None)
    assert await pool.fetchval("SELECT count(*) FROM outbox") >= 1
    await line.heal()
    await wait_until(lambda: pool.fetchval(EMPTY_OUTBOX))
    assert await ranks(redis_url, pool, "ada", "bob") == [1, 2]


async def test_a_session_sent_again_is_not_given_ranks_it_has_not_reached_yet(
    score: Score, line: Wire, pool: Pool
) -> None:
    await score.post(("ada", 1), ("bob", 3))
    await line.cut()
    session_id = str(uuid7())
    await score.post(("ada", 5), session_id=session_id)
    await pool.execute("UPDATE outbox SET created_at = now() + interval '1 hour'")  # nobody relays it
    await line.heal()

    async def reached() -> bool:
        return change((await score.post(("cy", 1)))[0]).rank is not None

    await wait_until(reached)
    answer, replayed = await score.post(("ada", 5), session_id=session_id)
    assert (change(answer).score, change(answer).rank, replayed) == (6, None, True)


async def test_another_replica_relays_what_a_crash_left_behind(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, "redis://127.0.0.1:1/0") as crashed:
        await crashed.define()
        await crashed.post(("ada", 1))
    async with score_service(database_url, redis_url) as other:
        await other.post(("bob", 5))
        await wait_until(lambda: pool.fetchval(EMPTY_OUTBOX))
    assert await ranks(redis_url, pool, "ada", "bob") == [2, 1]


async def test_outbox_rows_are_dropped_soon_without_a_further_batch(score: Score, pool: Pool) -> None:
    await score.post(("ada", 1))
    await wait_until(lambda: pool.fetchval(EMPTY_OUTBOX), timeout=0.9)


async def test_no_applied_row_is_forgotten_where_others_are_dropped_side_by_side(
    score: Score, pool: Pool, redis_url: str
) -> None:
    committer = Committer(pool, retry_seconds=1, grace=timedelta())
    outbox = Outbox(pool, committer, History(pool), RankingIndex(RedisWire(redis_url, timeout=1), idle_ms=1))
    queue = "INSERT INTO outbox (changes) VALUES ('[]') RETURNING outbox_id"
    first, second, third = [await pool.fetchval(queue) for _ in range(3)]
    committer.applied |= {first, second}
    sweeps = [asyncio.create_task(outbox.sweep()) for _ in range(2)]
    await asyncio.sleep(0)  # both have seen what there is
    committer.applied.add(third)
    await asyncio.gather(*sweeps)
    assert committer.applied == {third}


async def test_after_a_flush_ranks_are_right_or_null(
    score: Score, redis: Redis, pool: Pool, redis_url: str
) -> None:
    await score.post(("ada", 10), ("bob", 5))
    await redis.flushdb()
    answer, _ = await score.post(("bob", 10))
    assert change(answer).rank in (None, 1)
    await wait_until(lambda: ranks(redis_url, pool, "ada"))
    answer, _ = await score.post(("ada", 3))
    assert (change(answer).rank, change(answer).previous_rank) == (2, 2)
    new, _ = await score.post(("cy", 99))
    assert (change(new).rank, change(new).previous_rank) == (1, None)


async def test_a_lost_script_cache_and_a_wrong_typed_key_are_healed(
    score: Score, redis: Redis, pool: Pool, redis_url: str
) -> None:
    await score.post(("ada", 10))
    await redis.script_flush()
    await score.post(("ada", 10))
    for key in RANKING.keys:
        await redis.delete(key)
        await redis.set(key, "nonsense")
        await score.post(("ada", 10))
        await wait_until(lambda: ranks(redis_url, pool, "ada"))
    assert await ranks(redis_url, pool, "ada") == [1]


async def test_a_slow_redis_delays_an_answer_by_its_timeout_at_most(score: Score, line: Wire) -> None:
    await score.post(("ada", 1))
    line.silent = True
    answer, _ = await score.post(("ada", 1), timeout=3.0)
    assert change(answer).rank is None


@pytest.mark.parametrize("sessions", [1, 100])
async def test_a_batch_costs_one_statement_and_one_round_trip_to_each_store(
    score: Score, pool: Pool, redis: Redis, sessions: int
) -> None:
    await pool.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await score.post(*((f"u{i}", 1) for i in range(100)))
    await wait_until(lambda: pool.fetchval(EMPTY_OUTBOX))
    calls = """SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
                WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND query ~ '^SELECT . FROM (record_batch|enter_gate)|^INSERT INTO'"""
    costs = []
    for _ in range(5):
        before = await pool.fetchval(calls)
        scripts = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await score.post(*((f"u{i}", 1) for i in range(sessions)), session_id=str(uuid7()))
        assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - scripts == 1
        costs.append(await pool.fetchval(calls) - before)
    # A batch on a connection that nobody has used before looks at the rules first.
    assert min(costs) == 1
    assert max(costs) <= 2
