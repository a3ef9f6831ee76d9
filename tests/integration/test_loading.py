"""Loads copy a snapshot, one at a time, whatever is written or broken meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.index import Lookup, RankingIndex, read_lookup
from shared.loading import CHUNK, Loader
from shared.postgres import Pool
from shared.ranking import Board, Place
from shared.wire import Wire
from tests.proxy import wire
from tests.rank import put_board, put_entries
from tests.support import wait_until


@pytest.fixture
async def board(pool: Pool) -> Board:
    return await put_board(pool)


async def open_index(redis_url: str) -> tuple[Wire, RankingIndex]:
    connection = Wire(redis_url, timeout=1)
    index = RankingIndex(connection, idle_ms=60_000)
    index.database_identity = "pg:1"
    return connection, index


@pytest.fixture
async def index(redis_url: str) -> AsyncIterator[RankingIndex]:
    connection, index = await open_index(redis_url)
    yield index
    await connection.close()


async def place_of(index: RankingIndex, board: Board, user_id: str) -> tuple[int, Place | None] | None:
    """Return the total and a user's place; None while the index is not ready."""
    ranking = board.ranking(0)
    (reply,) = await index.send([index.lookup(ranking, [user_id])])
    found = read_lookup(ranking, reply)
    return (found.stamp.total, found.places[0]) if isinstance(found, Lookup) else None


async def test_a_load_copies_every_chunk(pool: Pool, board: Board, index: RankingIndex) -> None:
    count = 2 * CHUNK + 1
    await put_entries(pool, board, [(f"u{i}", i) for i in range(count)])
    await Loader(index, pool).start(board.ranking(0))
    assert await place_of(index, board, "u0") == (count, Place(count, 1, 0, count - 1))


async def test_a_load_that_waits_for_entries_keeps_its_lock(
    pool: Pool, board: Board, index: RankingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.index.LOCK_MS", 300)
    monkeypatch.setattr("shared.loading.SIGN_OF_LIFE", 0.05)
    await put_entries(pool, board, [("ada", 5)])
    async with pool.acquire() as stranger:
        transaction = stranger.transaction()
        await transaction.start()
        await stranger.execute("LOCK TABLE entries")
        load = Loader(index, pool).start(board.ranking(0))
        await asyncio.wait([load], timeout=1.5)  # five times what the lock lives
        assert not load.done()
        await transaction.rollback()
    await load
    assert await place_of(index, board, "ada") == (1, Place(1, 1, 5, 0))


async def test_tombstones_are_copied_and_not_ranked(pool: Pool, board: Board, index: RankingIndex) -> None:
    entries = await put_entries(pool, board, [("ada", 5), ("bob", 4), ("cid", 3)])
    await pool.execute("UPDATE entries SET deleted_at = now() WHERE user_id = 'ada'")
    await pool.execute("UPDATE entries SET hidden = true WHERE user_id = 'bob'")
    await Loader(index, pool).start(board.ranking(0))
    assert await place_of(index, board, "cid") == (1, Place(1, 1, 3, 0))
    await index.send([index.apply(board.ranking(0), entries)])  # late: from before the tombstone
    assert await place_of(index, board, "ada") == (1, None)


async def test_a_ranking_is_loaded_once_however_many_ask(
    pool: Pool, board: Board, index: RankingIndex
) -> None:
    loader = Loader(index, pool)
    tasks = {loader.start(board.ranking(0)) for _ in range(10)}
    assert len(tasks) == 1
    await asyncio.gather(*tasks)
    assert await place_of(index, board, "ada") == (0, None)


async def test_replicas_leave_a_load_to_the_first(pool: Pool, board: Board, redis_url: str) -> None:
    await put_entries(pool, board, [(f"u{i}", i) for i in range(3 * CHUNK)])
    opened = [await open_index(redis_url) for _ in range(3)]
    loaders = [Loader(index, pool) for _, index in opened]
    await asyncio.gather(*(loader.start(board.ranking(0)) for loader in loaders))
    found = await wait_until(lambda: place_of(opened[0][1], board, "u0"))
    assert found == (3 * CHUNK, Place(3 * CHUNK, 1, 0, 3 * CHUNK - 1))
    for connection, _ in opened:
        await connection.close()


async def test_a_dead_loader_is_taken_over(
    pool: Pool, board: Board, index: RankingIndex, redis: Redis
) -> None:
    await put_entries(pool, board, [("ada", 5)])
    ranking = board.ranking(0)
    assert (await index.begin(ranking))[0] == "mine"  # and then its process dies
    await Loader(index, pool).start(ranking)
    assert await place_of(index, board, "ada") is None
    assert 0 < await redis.pttl(ranking.keys[0]) <= 15_000
    await redis.pexpire(ranking.keys[0], 1)

    async def loaded() -> bool:
        await Loader(index, pool).start(ranking)
        return await place_of(index, board, "ada") is not None

    await wait_until(loaded)


async def test_writes_during_a_load_are_not_lost(pool: Pool, board: Board, index: RankingIndex) -> None:
    await put_entries(pool, board, [(f"u{i}", i) for i in range(3 * CHUNK)])
    load = Loader(index, pool).start(board.ranking(0))
    written = 0
    while not load.done():
        written += 1
        entries = await put_entries(pool, board, [("u7", 10**6 + written)])
        await index.send([index.apply(board.ranking(0), entries)])
    assert written > 1
    assert await place_of(index, board, "u7") == (3 * CHUNK, Place(1, 1, 10**6 + written, 0))


async def test_a_flush_stops_a_load(pool: Pool, board: Board, index: RankingIndex, redis: Redis) -> None:
    await put_entries(pool, board, [(f"u{i}", i) for i in range(5 * CHUNK)])
    loader = Loader(index, pool)
    load = loader.start(board.ranking(0))
    await wait_until(lambda: redis.exists(board.ranking(0).keys[1]))
    await redis.flushdb()
    await load
    assert await place_of(index, board, "u7") is None
    await loader.start(board.ranking(0))
    assert (await place_of(index, board, "u0") or (0,))[0] == 5 * CHUNK


async def test_a_load_over_a_cut_wire_fails_quietly(pool: Pool, board: Board, redis_url: str) -> None:
    async with wire(redis_url) as cable:
        connection, index = await open_index(cable.url)
        await place_of(index, board, "ada")
        await cable.cut()
        await Loader(index, pool).start(board.ranking(0))
        await cable.heal()
        await wait_until(lambda: settled(index, board))
        await Loader(index, pool).start(board.ranking(0))
        assert await place_of(index, board, "ada") == (0, None)
        await connection.close()


async def settled(index: RankingIndex, board: Board) -> bool:
    """Say whether Redis can be reached again."""
    try:
        await place_of(index, board, "ada")
    except Exception:  # noqa: BLE001  a condition to wait for
        return False
    return True


async def test_closing_stops_a_load(pool: Pool, board: Board, index: RankingIndex) -> None:
    await put_entries(pool, board, [(f"u{i}", i) for i in range(5 * CHUNK)])
    loader = Loader(index, pool)
    load = loader.start(board.ranking(0))
    await asyncio.sleep(0)
    await loader.close()
    assert load.cancelled()
