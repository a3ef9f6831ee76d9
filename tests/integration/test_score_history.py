"""The history's partitions: made ahead, pruned, closed and folded before they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from score_service.store import SQL
from score_service.worker import Housekeeping, months_before
from shared.errors import LeaderboardError
from shared.names import period_of
from shared.postgres import Pool
from tests.integration.test_score_concurrency import LINGER
from tests.score import Score, score_service
from tests.support import wait_until

PARTS = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'game_sessions'::regclass ORDER BY 1"
)
BOARDS: dict[str, Any] = {
    "best": {"operator": "best", "ties": "first"},
    "low": {"operator": "best", "order": "asc"},
    "last": {"operator": "latest"},
    "plays": {"operator": "count"},
}
TABLE = """SELECT leaderboard, user_id, score, sort_key, tiebreak, reached_at
             FROM entries JOIN leaderboards USING (leaderboard_id, generation)
            WHERE leaderboard = ANY ($1)
            ORDER BY 1, 2"""


def v7(month: date, n: int) -> UUID:
    milliseconds = int(datetime(month.year, month.month, 15, tzinfo=UTC).timestamp() * 1000) + n
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | n)


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define(**BOARDS)
        yield score


@pytest.fixture
async def aged(pool: Pool) -> list[date]:
    """A database installed three months ago: partitions for the months since."""
    this_month = await pool.fetchval("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date")
    months = [months_before(this_month, n) for n in (3, 2, 1)]
    for parent in ("game_sessions", "session_results"):
        await pool.execute(f"ALTER TABLE {parent} DETACH PARTITION {parent}_past")
        await pool.execute(f"DROP TABLE {parent}_past")
        await pool.execute(
            f"CREATE TABLE {parent}_past PARTITION OF {parent} FOR VALUES FROM (MINVALUE) TO ('{months[0]}')"
        )
        for month in months:
            await pool.execute(
                f"CREATE TABLE {parent}_{month:%Y_%m} PARTITION OF {parent} "
                f"FOR VALUES FROM ('{month}') TO ('{months_before(month, -1)}')"
            )
    await pool.execute("UPDATE history SET first_period = $1, closed_until = $1", months[0])
    return months


async def test_partitions_are_made_three_months_ahead(pool: Pool) -> None:
    this_month = await pool.fetchval("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date")
    months = [months_before(this_month, -n) for n in range(4)]
    assert [row[0] for row in await pool.fetch(PARTS)] == sorted(
        [f"game_sessions_{month:%Y_%m}" for month in months] + ["game_sessions_past"]
    )
    assert await pool.fetchval("SELECT make_periods(3)") == 0
    assert await pool.fetchval("SELECT make_periods(5)") == 4
    assert await pool.fetchval("SELECT make_periods(3)") == 0


async def test_a_batch_of_all_ages_finds_its_partitions(score: Score, pool: Pool) -> None:
    this_month = await pool.fetchval("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date")
    ids = [uuid4(), v7(date(2020, 5, 1), 1), v7(months_before(this_month, 1), 2)]
    for session_id in ids:
        await score.post(("ada", 1), session_id=str(session_id))
    rows = await pool.fetch("SELECT tableoid::regclass::text AS part, period FROM game_sessions")
    assert {row["part"] for row in rows} == {"game_sessions_past"}
    assert {row["period"] for row in rows} == {period_of(session_id) for session_id in ids}


async def test_looking_sessions_up_touches_only_their_partitions(score: Score, pool: Pool) -> None:
    session_id = uuid4()
    await score.post(("ada", 1), session_id=str(session_id))
    async with pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE classify (int[], date[], uuid[]) AS {SQL['classify_sessions']}")
        arguments = f"ARRAY[1], ARRAY['1970-01-01'::date], ARRAY['{session_id}'::uuid]"
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE classify ({arguments})")
    lines = [row[0] for row in rows]
    used = [line for line in lines if " on game_sessions_" in line and "never executed" not in line]
    assert len(used) == 1, lines
    assert "Index Scan" in used[0]


async def test_retention_folds_before_it_detaches_and_nothing_of_a_board_is_lost(
    score: Score, pool: Pool, aged: list[date]
) -> None:
    for n, month in enumerate([*aged, *aged]):
        played_at = f"{month}T0{n}:00:00Z"
        await score.post(("ada", 7 - n), ("bob", n), session_id=str(v7(month, n)), played_at=played_at)
    await score.post(("ada", 3), ("cy", 2), session_id=str(uuid4()), played_at="2025-01-01T00:00:00Z")
    boards = ["global", *BOARDS]
    before = await pool.fetch(TABLE, boards)
    keeping = Housekeeping(pool, history_months=1)
    await keeping.retain()
    await keeping.retain()
    parts = [row[0] for row in await pool.fetch(PARTS)]
    assert [f"game_sessions_{month:%Y_%m}" in parts for month in aged] == [False, False, True]
    # Every board folded anew, from its base and what is left, is as it was.
    await pool.execute("DELETE FROM entries")
    game = await score.state["games"].get("demo")
    for name in boards:
        await score.state["definitions"].rebuild_leaderboard(game, name)
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM builds)"))
    assert await pool.fetch(TABLE, boards) == before


async def test_a_changed_tie_policy_keeps_what_retention_took(
    score: Score, pool: Pool, aged: list[date]
) -> None:
    await score.post(("ada", 5), session_id=str(v7(aged[0], 1)))
    await Housekeeping(pool, history_months=1).retain()
    await score.define(**{"global": {"ties": "dense"}})
    rows = await pool.fetch(TABLE, ["global"])
    assert [(row["user_id"], row["score"]) for row in rows] == [("ada", 5)]


async def test_a_session_of_a_closed_month_is_too_old(score: Score, pool: Pool, aged: list[date]) -> None:
    old = str(v7(aged[0], 1))
    await score.post(("ada", 5), session_id=old)
    await Housekeeping(pool, history_months=1).retain()
    for session_id in (old, str(v7(aged[1], 2))):
        with pytest.raises(LeaderboardError) as error:
            await score.post(("ada", 5), session_id=session_id)
        assert error.value.code == "session_too_old"
    for session_id in (str(v7(aged[2], 3)), str(uuid4())):
        assert not (await score.post(("ada", 1), session_id=session_id))[1]


async def test_a_partition_is_not_detached_before_every_board_has_folded_it(
    score: Score, pool: Pool, aged: list[date]
) -> None:
    await score.post(("ada", 5), session_id=str(v7(aged[0], 1)))
    await pool.execute("UPDATE history SET closed_until = $1", aged[2])
    assert await pool.fetchval("SELECT detach_periods($1)", aged[2]) == 0


WAITING = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {}"
GATED = WAITING.format("classid = 1 AND mode = 'ExclusiveLock'")


async def test_a_session_of_a_game_made_while_months_are_closed_is_folded_too(
    score: Score, pool: Pool, aged: list[date]
) -> None:
    keeping = Housekeeping(pool, history_months=1)
    async with pool.acquire() as gate, pool.acquire() as late:
        await late.execute(LINGER)
        await late.execute("SELECT pg_advisory_lock(99)")
        async with gate.transaction():
            await gate.execute("SELECT pg_advisory_xact_lock_shared(1, game_id) FROM games")
            retaining = asyncio.create_task(keeping.retain())
            await wait_until(lambda: pool.fetchval(GATED))
            await score.define("new")
            post = asyncio.create_task(score.post(("ada", 5), game="new", session_id=str(v7(aged[0], 1))))
            await wait_until(lambda: pool.fetchval(WAITING.format("objid = 99")))
        await wait_until(
            lambda: pool.fetchval(f"{GATED} AND (SELECT closed_until > $1 FROM history)", aged[0])
        )
        await late.execute("SELECT pg_advisory_unlock(99)")
    await asyncio.gather(post, retaining)
    based = (
        "SELECT score FROM entry_base JOIN leaderboards USING (leaderboard_id) WHERE leaderboard = 'global'"
    )
    assert [row[0] for row in await pool.fetch(based)] == [5]
