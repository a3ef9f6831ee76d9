"""What reads may cost: round trips, statements, index use. Counts, not seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from rank_service.index import BATCHES
from rank_service.store import SQL
from shared.postgres import Pool
from shared.ranking import Board
from tests.rank import Rank, put_board, put_entries, rank_service

USERS = [f"u{i}" for i in range(60)]


@pytest.fixture
async def board(pool: Pool) -> Board:
    board = await put_board(pool)
    await put_entries(pool, board, [(user, i) for i, user in enumerate(USERS)])
    return board


@pytest.fixture
async def rank(database_url: str, redis_url: str, board: Board) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url, rank_audit_ms=3_600_000) as rank:
        await rank.ready()
        await read_all(rank)
        await read_all(rank)  # by now the profiles are kept
        yield rank


async def read_all(rank: Rank) -> None:
    await asyncio.gather(*(rank.get(f"/leaderboards/global/users/{user}") for user in USERS))


async def calls(redis: Redis, command: str) -> int:
    """Return how often the server has run a command."""
    stats = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_concurrent_ranks_share_a_command(rank: Rank, redis: Redis) -> None:
    before = await calls(redis, "evalsha")
    await read_all(rank)
    assert await calls(redis, "evalsha") - before <= 3


async def test_questions_of_every_kind_share_round_trips(rank: Rank) -> None:
    paths = ["/top", "/top?offset=20", "/users/u7", "/users/u8/around", "/rank?score=3", "/distribution"]
    lookup = {"user_ids": USERS[:50]}

    async def ask_all() -> None:
        reads = [rank.get(f"/leaderboards/global{path}") for path in paths * 5]
        posts = [rank.client.post("/v1/games/demo/leaderboards/global/lookup", json=lookup) for _ in range(5)]
        await asyncio.gather(*reads, *posts)

    await ask_all()  # by now profiles are kept
    before = round_trips()
    await ask_all()
    # One or two, and one more for the names on pages, which are known to be needed only then.
    assert round_trips() - before <= 4


def round_trips() -> float:
    """Return how many round trips with questions there have been."""
    (metric,) = BATCHES.collect()
    return sum(sample.value for sample in metric.samples if sample.name.endswith("_count"))


async def test_a_hot_page_brings_only_counters(rank: Rank, redis: Redis) -> None:
    await rank.get("/leaderboards/global/top")
    before = await calls(redis, "zrange")
    for _ in range(20):
        await rank.get("/leaderboards/global/top")
    assert await calls(redis, "zrange") == before


async def test_a_read_from_the_index_asks_postgres_nothing(rank: Rank, pool: Pool) -> None:
    query = "SELECT sum(idx_scan + seq_scan) FROM pg_stat_user_tables WHERE relname IN ('entries', 'users')"
    await pool.execute("SELECT pg_stat_force_next_flush()")
    before = await pool.fetchval(query)
    await read_all(rank)
    await rank.get("/leaderboards/global/users/u5/around")
    assert await pool.fetchval(query) == before


@pytest.mark.parametrize(
    ("query", "args"),
    [
        ("page_of_ranking", "false, 10, 10"),
        ("neighbourhood_of_user", "false, 'u00500', 5"),
        ("places_of_users", "false, ARRAY['u00500']"),
        ("rank_of_score", "true, -5"),
        ("distribution_of_scores", "20"),
    ],
)
async def test_rankings_are_read_over_their_index(pool: Pool, query: str, args: str) -> None:
    # Among many rankings, as in life: one alone may well be quicker to scan whole.
    await pool.execute(
        "INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, reached_at)"
        " SELECT i % 20 + 1, 1, 0, to_char(i, '\"u\"FM00000'), i, -i, 0 FROM generate_series(1, 20000) AS i"
    )
    await pool.execute("VACUUM ANALYZE entries")
    types = {"page_of_ranking": "boolean, bigint, bigint", "neighbourhood_of_user": "boolean, text, bigint"}
    types |= {"places_of_users": "boolean, text[]", "rank_of_score": "boolean, bigint"}
    types |= {"distribution_of_scores": "bigint"}
    async with pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked (integer, integer, bigint, {types[query]}) AS {SQL[query]}")
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE asked (1, 1, 0, {args})")
    plan = "\n".join(row[0] for row in rows)
    assert "entries_rank" in plan
    assert "Seq Scan on entries" not in plan


@pytest.mark.parametrize("query", ["standings", "sealed_standings"])
async def test_an_export_looks_users_up_by_their_key_whatever_is_believed_of_the_game(
    pool: Pool, query: str
) -> None:
    async def fill(number: int, players: int) -> None:
        for table, columns in (
            ("users (game_id, user_id)", "$1, 'u' || i"),
            ("entries (leaderboard_id, generation, season, user_id, score, sort_key, reached_at)",
             "$1, 1, 0, 'u' || i, 1, -1, 0"),
            ("final_standings", "$1, 1, 0, i, 'u' || i, 1, 1, 0, 1"),
        ):  # fmt: skip
            rows = f"SELECT {columns} FROM generate_series(1, $2::int) AS i"
            await pool.execute(f"INSERT INTO {table} {rows}", number, players)

    await fill(8, 5000)
    await pool.execute("VACUUM ANALYZE users, entries, final_standings")
    await fill(9, 2000)
    async with pool.acquire() as connection:
        await connection.execute(f"PREPARE asked (integer, integer, bigint, integer) AS {SQL[query]}")
        rows = await connection.fetch("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE asked (9, 1, 0, 9)")
    plan = "\n".join(row[0] for row in rows)
    assert "Index Cond: ((game_id = 9) AND (user_id = " in plan
    assert "Join Filter: (u.user_id" not in plan
    assert "Rows Removed by Join Filter" not in plan


async def test_a_search_uses_its_index(pool: Pool, board: Board) -> None:
    await pool.execute(
        "INSERT INTO users SELECT $1, 'u' || i, 'Name ' || i FROM generate_series(1, 5000) AS i",
        board.game_id,
    )
    await pool.execute("ANALYZE users")
    async with pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked (integer, text, bigint) AS {SQL['search_users']}")
        rows = await connection.fetch("EXPLAIN (COSTS OFF) EXECUTE asked (1, 'na', 20)")
    plan = "\n".join(row[0] for row in rows)
    assert "users_by_name" in plan
    assert "Seq Scan" not in plan
