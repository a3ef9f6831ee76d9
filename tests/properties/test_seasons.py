"""Random play on scheduled boards, with voids and bans, comes out as the obviously right leaderboard says."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

from shared.names import microseconds, uuid7
from shared.postgres import Pool
from tests.integration.test_score_seasons import HOUR, WEEK, hour
from tests.model import Board, Game, Session, Standing
from tests.score import Score, score_service
from tests.support import wait_until

BOARDS = {
    "sums": ({"schedule": "hourly", "ties": "dense"}, Board("sum", ties="dense", hours=1)),
    "best": ({"schedule": "0 */6 * * *", "operator": "best"}, Board("best", hours=6)),
    "last": (
        {"schedule": "daily", "operator": "latest", "ties": "first"},
        Board("latest", ties="first", hours=24),
    ),
    "low": (
        {"schedule": "hourly", "operator": "best", "order": "asc"},
        Board("best", "asc", hours=1),
    ),
}
OVER = "UPDATE seasons SET closes_at = now() WHERE ends_at < now() AND sealed_at IS NULL"
LEFT = "SELECT NOT EXISTS (SELECT FROM seasons WHERE ends_at < now() AND sealed_at IS NULL)"
FINAL = """SELECT f.rank, f.user_id, f.score, f.ties
             FROM final_standings AS f JOIN leaderboards USING (leaderboard_id, generation)
            WHERE leaderboard = $1 AND season = $2 ORDER BY place"""
SEASONS = """SELECT season, ends_at < now() AS over
               FROM seasons JOIN leaderboards USING (leaderboard_id, generation) WHERE leaderboard = $1"""


async def test_sealed_seasons_are_as_the_model_says(
    database_url: str, redis_url: str, pool: Pool, rng: random.Random
) -> None:
    model = Game({"global": Board(), **{name: board for name, (_, board) in BOARDS.items()}})
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(**{name: body for name, (body, _) in BOARDS.items()})
        await asyncio.gather(*(play(score, rng, model) for _ in range(80)))
        game: Any = await score.state["games"].get("demo")
        model.banned.add("u1")
        await score.state["moderation"].ban(game, "u1", "bot", "key-1")
        await void(score, model, rng.sample(sorted(model.sessions), 5))
        await score.define(late=BOARDS["last"][0])  # folded from the history, with its seasons
        model.boards["late"] = model.boards["last"]
        await pool.execute(OVER)
        await wait_until(lambda: pool.fetchval(LEFT))
        await void(score, model, rng.sample(sorted(set(model.sessions) - model.voided), 5))
        await wait_until(lambda: pool.fetchval(LEFT))
    for name in (*BOARDS, "late"):
        over = [row["season"] for row in await pool.fetch(SEASONS, name) if row["over"]]
        assert over
        for season in over:
            found = [Standing(*row) for row in await pool.fetch(FINAL, name, season)]
            assert found == model.standings(name, season), (name, season)


async def play(score: Score, rng: random.Random, model: Game) -> None:
    session_id = uuid7()
    played_at = hour(1) - rng.randrange(30 * 60) * HOUR / 60 + rng.randrange(3) * HOUR / 3600
    scores = {f"u{n}": rng.randrange(6) for n in rng.sample(range(8), 3)}
    await score.post(*scores.items(), session_id=str(session_id), played_at=played_at.isoformat())
    assert model.record(Session(session_id, scores, microseconds(played_at))) == "recorded"


async def void(score: Score, model: Game, sessions: list[UUID]) -> None:
    game: Any = await score.state["games"].get("demo")
    for session_id in sessions:
        await score.state["moderation"].void(game, str(session_id), "cheated", "key-1")
        model.voided.add(session_id)
