"""The audit finds what differs, repairs it, and is not fooled by writes on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from rank_service import audit
from rank_service.audit import Auditor, Walk
from shared.index import RankingIndex
from shared.loading import Loader
from shared.postgres import Pool
from shared.ranking import Board
from shared.wire import Wire
from tests.rank import put_board, put_entries

USERS = [f"u{i:03}" for i in range(20)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SETTLE", 0.01)
    monkeypatch.setattr(audit, "SAMPLE", 7)


@pytest.fixture
async def board(pool: Pool) -> Board:
    board = await put_board(pool)
    await put_entries(pool, board, [(user, i) for i, user in enumerate(USERS)])
    return board


@pytest.fixture
async def index(redis_url: str, pool: Pool, board: Board) -> AsyncIterator[RankingIndex]:
    wire = Wire(redis_url, timeout=5)
    index = RankingIndex(wire, idle_ms=60_000)
    index.database_identity = "pg:1"
    await Loader(index, pool).start(board.ranking(0))
    yield index
    await wire.close()


@pytest.fixture
def auditor(index: RankingIndex, pool: Pool, board: Board) -> Auditor:
    return Auditor(index, pool, lambda: [board.ranking(0)])


async def drift() -> float:
    """Return how many differences have been found so far, by anyone."""
    samples = [sample for metric in audit.DRIFT.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def walk(auditor: Auditor, board: Board) -> None:
    """Go once round, in both directions."""
    step = Walk()
    for _ in range(4):
        step = await auditor.sample(board.ranking(0), step)


async def test_a_faithful_copy_is_left_alone(auditor: Auditor, board: Board, index: RankingIndex) -> None:
    before = await drift()
    await walk(auditor, board)
    assert await drift() == before


async def test_a_lost_apply_is_made_good(auditor: Auditor, board: Board, pool: Pool, redis: Redis) -> None:
    before = await drift()
    await put_entries(pool, board, [("u005", 99)])  # committed, and never applied
    await walk(auditor, board)
    assert await redis.zscore(board.ranking(0).keys[1], "u005") == -99
    assert await drift() == before + 1


async def test_a_score_that_is_wrong_in_itself_costs_the_copy(
    auditor: Auditor, board: Board, redis: Redis
) -> None:
    await redis.zadd(board.ranking(0).keys[1], {"u012": -50})
    await walk(auditor, board)
    assert not await redis.exists(board.ranking(0).keys[0])


async def test_a_version_from_nowhere_costs_the_copy(auditor: Auditor, board: Board, redis: Redis) -> None:
    """Whatever comes would be refused as older."""
    await redis.hset(board.ranking(0).keys[2], "u012", "999999")
    await walk(auditor, board)
    assert not await redis.exists(board.ranking(0).keys[0])


async def test_someone_only_the_copy_knows_costs_the_copy(
    auditor: Auditor, board: Board, pool: Pool, redis: Redis
) -> None:
    await pool.execute("DELETE FROM entries WHERE user_id = 'u019'")
    await walk(auditor, board)
    assert not await redis.exists(board.ranking(0).keys[0])


async def test_a_missing_entry_is_noticed_by_count(
    auditor: Auditor, board: Board, index: RankingIndex, pool: Pool, redis: Redis
) -> None:
    ranking = board.ranking(0)
    await redis.zrem(ranking.keys[1], "u003")
    await redis.hincrby(ranking.keys[0], "count", -1)
    await redis.hincrby(ranking.keys[0], "known", -1)
    await redis.hdel(ranking.keys[2], "u003")
    await auditor._compare_counts(ranking)
    assert not await redis.exists(ranking.keys[0])


async def test_a_write_on_its_way_is_not_drift(
    auditor: Auditor, board: Board, index: RankingIndex, pool: Pool
) -> None:
    before, done = await drift(), asyncio.Event()

    async def write() -> None:
        for score in range(100, 400):
            entries = await put_entries(pool, board, [("u007", score)])
            await index.send([index.apply(board.ranking(0), entries)])
        done.set()

    async def compare() -> None:
        while not done.is_set():
            await auditor.compare(board.ranking(0), USERS)

    await asyncio.gather(write(), compare(), compare())
    assert await drift() == before


async def test_nothing_is_audited_where_nothing_is_in_use(index: RankingIndex, pool: Pool) -> None:
    await Auditor(index, pool, list).step()


async def test_a_copy_that_is_not_ready_is_left_alone(auditor: Auditor, redis: Redis) -> None:
    before = await drift()
    await redis.flushdb()
    await auditor.step()
    assert await drift() == before
