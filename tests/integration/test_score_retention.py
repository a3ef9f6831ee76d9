"""Months folded away while boards are being built: nothing of a board is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest

from score_service.worker import Housekeeping
from shared.names import microseconds
from shared.postgres import Pool
from tests.integration.test_score_history import PARTS, aged, v7
from tests.model import Board, Game, Session
from tests.score import Score, score_service
from tests.support import wait_until

__all__ = ["aged"]

USERS = ("ada", "bob", "mia", "zoe")
MIDDLE = 50
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.user_id < 'm' AND NEW.user_id >= 'm' THEN PERFORM pg_advisory_xact_lock_shared(50); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE OF user_id ON builds FOR EACH ROW EXECUTE FUNCTION hold()"""
"""Holds each build in the chunk that comes past the middle of the users, folded but not committed."""

HELD = f"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = {MIDDLE} AND NOT granted"
GATED = """SELECT count(*) > 0 FROM pg_locks
            WHERE locktype = 'advisory' AND classid = 1 AND mode = 'ExclusiveLock' AND NOT granted"""
BUILDING = "SELECT count(*) FROM builds WHERE users_done BETWEEN 1 AND users_total - 1"
BASED = """SELECT count(*) FROM builds AS b JOIN history ON base_until = closed_until
            WHERE EXISTS (SELECT FROM entry_base AS e
                           WHERE e.leaderboard_id = b.leaderboard_id AND e.generation = b.generation)"""
NO_BUILDS = "SELECT NOT EXISTS (SELECT FROM builds)"
LINES = """SELECT user_id, score FROM entries JOIN leaderboards USING (leaderboard_id, generation)
            WHERE leaderboard = $1 AND deleted_at IS NULL ORDER BY sort_key, tiebreak, user_id"""

BEFORE: dict[str, Any] = {"best": {"operator": "best"}, "last": {"operator": "latest"}}
AFTER: dict[str, Any] = {
    "global": {"operator": "best", "order": "asc", "ties": "first"},
    "best": {},
    "last": {"operator": "latest", "modes": ["ranked"]},
    "new": {"operator": "count"},
}
MODEL = {
    "global": Board("best", "asc", "first"),
    "best": Board(),
    "last": Board("latest", modes=frozenset(["ranked"])),
    "new": Board("count"),
}


class Play:
    """Records sessions of several months, in a service and in the model."""

    def __init__(self, boards: dict[str, Board]) -> None:
        self.game = Game(boards)
        self._number = 0

    async def __call__(self, score: Score, *months: date, users: tuple[str, ...] = USERS) -> None:
        for month in months:
            self._number += 1
            n = self._number
            at, mode = datetime(month.year, month.month, 16, n, tzinfo=UTC), ("ranked", "casual")[n % 2]
            scores = {user: (7 * n + 5 * turn) % 11 for turn, user in enumerate(users[n % len(users) :])}
            session = Session(v7(month, n), scores, microseconds(at), mode)
            told = {"session_id": str(session.session_id), "mode": mode}
            await score.post(*scores.items(), timeout=20.0, played_at=at.isoformat(), **told)
            assert self.game.record(session) == "recorded"

    async def check(self, pool: Pool) -> None:
        """Compare every board with the fold of the whole history."""
        for name in self.game.boards:
            lines = [(line.user_id, line.score) for line in self.game.standings(name)]
            assert [tuple(row) for row in await pool.fetch(LINES, name)] == lines, name


@asynccontextmanager
async def held(pool: Pool) -> AsyncIterator[None]:
    """Within the block builds come to their middle and no further."""
    async with pool.acquire() as connection:
        await connection.execute(HOLD)
        await connection.execute("SELECT pg_advisory_lock($1)", MIDDLE)
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", MIDDLE)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("FIRST_CHUNK", "MAX_CHUNK"):
        monkeypatch.setattr(f"score_service.building.{bound}", 1)


async def folded_away(pool: Pool, month: date) -> bool:
    return f"game_sessions_{month:%Y_%m}" not in [row[0] for row in await pool.fetch(PARTS)]


async def test_months_folded_away_while_builds_stand_still_halfway(
    database_url: str, redis_url: str, pool: Pool, aged: list[date]
) -> None:
    play, keeping = Play(MODEL), Housekeeping(pool, history_months=1)
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await score.define(**BEFORE)
        await play(score, *aged * 4)
        async with held(pool):
            await score.define(**AFTER)
            await wait_until(lambda: pool.fetchval(HELD))
    # The builder is gone: the chunk that was held is not counted, those before it are.
    assert await pool.fetchval(BUILDING)
    await keeping.retain()
    assert await pool.fetchval(BASED), "nothing was folded into what is being built"
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await play(score, aged[2], aged[2])
        await wait_until(lambda: pool.fetchval(NO_BUILDS))
        await play(score, aged[2])
    await keeping.retain()
    assert await folded_away(pool, aged[0])
    await play.check(pool)


async def test_retention_that_waits_for_a_chunk_goes_on_between_it_and_the_next(
    database_url: str, redis_url: str, pool: Pool, aged: list[date]
) -> None:
    play, keeping = Play(MODEL), Housekeeping(pool, history_months=1)
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await score.define(**BEFORE)
        await play(score, *aged * 4)
        async with held(pool):
            await score.define(**AFTER)
            await wait_until(lambda: pool.fetchval(HELD))
            await play(score, aged[0], aged[2], users=("ada", "bob"))  # who are not in the chunk that is held
            retaining = asyncio.create_task(keeping.retain())
            await wait_until(lambda: pool.fetchval(GATED))
        await retaining
        await play(score, aged[2])
        await wait_until(lambda: pool.fetchval(NO_BUILDS))
        await play(score, aged[2])
    await keeping.retain()
    assert await folded_away(pool, aged[0])
    await play.check(pool)


async def test_boards_rebuilt_from_what_retention_left_and_retained_again_halfway(
    database_url: str, redis_url: str, pool: Pool, aged: list[date]
) -> None:
    boards = {"global": Board(), "best": Board("best"), "last": Board("latest")}
    play = Play(boards)
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await score.define(**BEFORE)
        await play(score, *aged * 4)
        await Housekeeping(pool, history_months=2).retain()
        async with held(pool):
            game = await score.state["games"].get("demo")
            for name in boards:
                await score.state["definitions"].rebuild_leaderboard(game, name)
            await wait_until(lambda: pool.fetchval(HELD))
    assert await pool.fetchval(BUILDING)
    keeping = Housekeeping(pool, history_months=1)
    await keeping.retain()
    assert await pool.fetchval(BASED), "nothing was folded into what is being built"
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await play(score, aged[2])
        await wait_until(lambda: pool.fetchval(NO_BUILDS))
        await play(score, aged[2])
    await keeping.retain()
    assert await folded_away(pool, aged[1])
    await play.check(pool)
