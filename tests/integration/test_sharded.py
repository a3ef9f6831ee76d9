"""A board whose index is cut into shards answers as any other; on one server here (see test_cluster)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from rank_service import audit, sharded
from rank_service.audit import Auditor, Walk
from rank_service.index import BATCHES
from score_service.index import Applier, Places
from score_service.store import EntryRow
from shared.cluster import open_line
from shared.index import Placed, RankingIndex
from shared.loading import Loader
from shared.postgres import IDENTITY, Pool
from shared.ranking import Board, Entry, Ranking
from shared.wire import Command, Wire
from tests.rank import Rank, put_board, put_entries, rank_service
from tests.score import score_service
from tests.support import wait_until
from tests.world import SHARDS, play_and_compare, world_on


async def test_everything_equals_the_model_across_shards(
    database_url: str, redis_url: str, redis: Redis, rng: random.Random
) -> None:
    async with world_on(database_url, redis_url, rng) as world:
        await play_and_compare(world, 50, redis.flushdb)


@pytest.fixture
async def board(pool: Pool) -> Board:
    board = await put_board(pool, index_shards=SHARDS)
    await put_entries(pool, board, [(f"u{i:02}", i // 12) for i in range(60)])
    return board


@pytest.fixture
async def rank(database_url: str, redis_url: str, board: Board) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url, rank_audit_ms=3_600_000) as rank:
        await rank.ready()
        yield rank


@pytest.fixture
async def index(redis_url: str, pool: Pool) -> AsyncIterator[RankingIndex]:
    line = open_line(redis_url, timeout=5)
    index = RankingIndex(line, idle_ms=60_000)
    index.database_identity = await pool.fetchval(IDENTITY)
    yield index
    await line.close()


async def round_trips(ask: Callable[[int], Awaitable[Any]], redis: Redis) -> tuple[float, int]:
    """Ask 40 times at once; return how many round trips, and how many scripts, that took."""

    async def counted() -> tuple[float, int]:
        stats = await redis.info("commandstats")
        (metric,) = BATCHES.collect()
        return sum(each.value for each in metric.samples if each.name.endswith("_count")), int(
            stats["cmdstat_evalsha"]["calls"]
        )

    await asyncio.gather(*map(ask, range(40)))  # by now profiles are kept, pages held
    before = await counted()
    await asyncio.gather(*map(ask, range(40)))
    after = await counted()
    return after[0] - before[0], after[1] - before[1]


PATHS = {  # what is asked, and in how many steps: users first, then beside their scores
    "/users/u{:02}": 2,
    "/users/u{:02}/around": 2,
    "/top": 1,
    "/rank?score={}": 1,
    "/distribution": 2,
}


@pytest.mark.parametrize("path", PATHS)
async def test_questions_of_the_moment_share_round_trips(rank: Rank, redis: Redis, path: str) -> None:
    async def ask(i: int) -> None:
        await rank.get(f"/leaderboards/global{path.format(i)}")

    trips, scripts = await round_trips(ask, redis)
    assert trips <= 2 * PATHS[path] + 1  # the first may go alone
    # Questions that differ in more than the user are scripts of their own.
    assert scripts <= (2 * PATHS[path] + 1) * SHARDS * (40 if "score" in path else 1)


async def test_a_hot_page_brings_only_counters(rank: Rank, redis: Redis) -> None:
    async def rows_read() -> int:
        stats = await redis.info("commandstats")
        return int(stats["cmdstat_zrange"]["calls"])

    first = await rank.client.get("/v1/games/demo/leaderboards/global/top")
    before = await rows_read()
    for _ in range(10):
        again = await rank.client.get("/v1/games/demo/leaderboards/global/top")
        assert again.headers["etag"] == first.headers["etag"]
    assert await rows_read() == before


async def test_every_neighbourhood_is_right_across_shards(rank: Rank) -> None:
    order = sorted((-(i // 12), f"u{i:02}") for i in range(60))
    for radius in (1, 2, 7):
        paths = [f"/leaderboards/global/users/{user}/around?radius={radius}" for _, user in order]
        for at, found in enumerate(await asyncio.gather(*map(rank.get, paths))):
            expected = order[max(0, at - radius) : at + radius + 1]
            assert [entry["user_id"] for entry in found["entries"]] == [user for _, user in expected]
            assert [entry["rank"] for entry in found["entries"]] == [49 - 12 * -key for key, _ in expected]
            assert {entry["ties"] for entry in found["entries"]} == {12}


async def test_a_lost_shard_is_loaded_alone(rank: Rank, redis: Redis, board: Board) -> None:
    lost, kept = board.ranking(0).parts[2], board.ranking(0).parts[0]
    token = await redis.hget(kept.keys[0], "token")
    await redis.unlink(*lost.keys)
    assert (await rank.get("/leaderboards/global/top"))["source"] == "database"
    await rank.ready()
    assert await redis.hget(kept.keys[0], "token") == token
    assert (await rank.get("/leaderboards/global/users/u59"))["entry"]["rank"] == 1


async def test_a_page_too_deep_to_merge_is_left_to_postgres(
    rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded, "MERGED_ROWS", 20 * SHARDS)
    near = await rank.get("/leaderboards/global/top", offset=15, limit=5)
    deep = await rank.get("/leaderboards/global/top", offset=16, limit=5)
    assert (near["source"], deep["source"]) == ("index", "database")
    assert deep["entries"][:4] == near["entries"][1:]


async def test_another_number_of_shards_is_another_index_of_the_same_entries(
    database_url: str, redis_url: str, redis: Redis, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score, rank_service(database_url, redis_url) as rank:
        for leader, shards in enumerate([1, 3, 1, 3]):  # the copies of the first two are there still
            (answer,) = await score.define(board={"index_shards": shards})
            assert answer.index_shards == shards
            await score.post((f"u{leader}", 10 + leader))
            await wait_until(lambda n=leader, s=shards: holds(redis, rank, s, n))  # type: ignore[misc]
            page = await rank.get("/leaderboards/board/top")
            assert page["source"] == "index"
            assert [each["user_id"] for each in page["entries"]] == [f"u{i}" for i in range(leader, -1, -1)]
        assert await pool.fetchval("SELECT generation FROM leaderboards WHERE leaderboard = 'board'") == 1


async def holds(redis: Redis, rank: Rank, shards: int, layout: int) -> bool:
    """Say whether the index answers from copies of all of so many shards."""
    source = (await rank.get("/leaderboards/board/top"))["source"]
    tail = f"~{layout}}}:s" if layout else "}:s"
    suffixes = [f":{i}/{shards}{tail}" for i in range(shards)] if shards > 1 else [f".1.0{tail}"]
    keys = [str(key).rstrip("'") for key in await redis.keys("*:s")]
    return source == "index" and all(any(key.endswith(suffix) for key in keys) for suffix in suffixes)


class Counting(Wire):
    """Counts round trips."""

    trips = 0

    async def send(self, commands: Sequence[Command], database: str = "") -> list[Any]:
        self.trips += 1
        return await super().send(commands, database)


async def test_batches_applied_together_are_placed_together(redis_url: str, pool: Pool, board: Board) -> None:
    line = Counting(redis_url, timeout=5)
    index = RankingIndex(line, idle_ms=60_000)
    index.database_identity = await pool.fetchval(IDENTITY)
    loader, ranking = Loader(index, pool), board.ranking(0)
    await loader.start(ranking)
    batches = []
    for best in (90, 80, 70):
        scores = [(f"new{best + n}", best + n) for n in range(5)]
        entries = await put_entries(pool, board, scores)
        batches.append({ranking: [row(board, entry) for entry in entries]})
    before = line.trips
    placed = await Applier(index, loader, patience=1).apply(batches)
    assert line.trips - before == 2
    ranks = [[users[f"new{best + n}"].rank for n in range(5)] for best, users in told(placed, ranking)]
    assert ranks == [[5, 4, 3, 2, 1], [10, 9, 8, 7, 6], [15, 14, 13, 12, 11]]
    await line.close()


def row(board: Board, entry: Entry) -> EntryRow:
    user_id, version, sort_key, tiebreak = entry
    assert sort_key is not None
    return EntryRow(board.leaderboard_id, 1, user_id, 0, sort_key, tiebreak, version, False, True)


def told(placed: Sequence[Places], ranking: Ranking) -> list[tuple[int, dict[str, Placed]]]:
    return [(best, each[ranking]) for best, each in zip((90, 80, 70), placed, strict=True)]


async def test_an_answered_write_is_read_at_once(database_url: str, redis_url: str) -> None:
    async with score_service(database_url, redis_url) as score, rank_service(database_url, redis_url) as rank:
        await score.define(board={"index_shards": SHARDS})

        async def play(user: str) -> None:
            for total in range(1, 61):
                await score.post((user, 1))
                page, entry = await asyncio.gather(
                    rank.get("/leaderboards/board/top"), rank.get(f"/leaderboards/board/users/{user}")
                )
                assert {each["user_id"]: each["score"] for each in page["entries"]}[user] == total
                assert entry["entry"]["score"] == total

        await asyncio.gather(*(play(f"u{i}") for i in range(6)))


@pytest.fixture
async def auditor(index: RankingIndex, pool: Pool, board: Board, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    monkeypatch.setattr(audit, "SETTLE", 0.01)
    await Loader(index, pool).start(board.ranking(0))
    return Auditor(index, pool, lambda: [board.ranking(0)])


async def test_the_audit_mends_a_shard(auditor: Auditor, pool: Pool, board: Board, redis: Redis) -> None:
    await put_entries(pool, board, [("u05", 99)])  # committed, and never applied
    await auditor.sample(board.ranking(0), Walk())
    part = board.ranking(0).part_of("u05")
    assert await redis.zscore(part.keys[1], "u05") == -99


async def test_the_audit_reads_every_shard(auditor: Auditor, pool: Pool, board: Board, redis: Redis) -> None:
    await pool.execute("DELETE FROM entries WHERE user_id = ANY ($1)", ["u05", "u06", "u07", "u08"])
    walk = Walk()
    for _ in range(SHARDS):
        walk = await auditor.sample(board.ranking(0), walk)
    for user in ("u05", "u06", "u07", "u08"):
        assert not await redis.exists(board.ranking(0).part_of(user).keys[0]), (
            "who is only there costs the copy"
        )


async def test_the_audit_counts_all_shards(auditor: Auditor, board: Board, redis: Redis, pool: Pool) -> None:
    part = board.ranking(0).part_of("u05")
    await redis.zrem(part.keys[1], "u05")
    await redis.hdel(part.keys[2], "u05")
    for field in ("count", "known"):
        await redis.hincrby(part.keys[0], field, -1)
    await auditor._compare_counts(board.ranking(0))
    assert not await redis.exists(part.keys[0])


async def test_shards_of_an_idle_board_expire_together(
    index: RankingIndex, pool: Pool, board: Board, redis: Redis
) -> None:
    await Loader(index, pool).start(board.ranking(0))
    keys = [key for part in board.ranking(0).parts for key in part.keys[:3]]
    assert all([await redis.pttl(key) > 0 for key in keys])


async def test_a_sealed_season_gives_all_shards_up(
    database_url: str, redis_url: str, redis: Redis, pool: Pool
) -> None:
    async with score_service(database_url, redis_url, season_grace_seconds=86_400) as score:
        await score.define(board={"schedule": "hourly", "index_shards": SHARDS})
        played_at = datetime.now(UTC) - timedelta(hours=3)
        await score.post(("ada", 5), ("bob", 3), ("cid", 1), played_at=played_at.isoformat())
        await wait_until(lambda: redis.keys("{lb:*/4}:s"))
        await pool.execute("UPDATE seasons SET closes_at = now()")
        await wait_until(lambda: gone(redis))


async def gone(redis: Redis) -> bool:
    return not await redis.keys("{lb:*/4}*")


@pytest.mark.parametrize("refusal", ["memory", "type"])
async def test_a_copy_that_refuses_an_apply_is_given_up(
    pool: Pool, index: RankingIndex, redis: Redis, refusal: str
) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5)])
    await Loader(index, pool).start(board.ranking(0))
    if refusal == "type":
        await redis.set(board.ranking(0).keys[3], "not ours")
        await redis.delete(board.ranking(0).keys[2])
        await redis.set(board.ranking(0).keys[2], "not ours")
    else:
        await redis.config_set("maxmemory", 1)
    entries = await put_entries(pool, board, [("ada", 6)])
    try:
        await index.write({board.ranking(0): entries})
    finally:
        await redis.config_set("maxmemory", 0)
    assert not await redis.exists(*board.ranking(0).keys)
