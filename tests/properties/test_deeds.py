"""Random deeds of all kinds, while seasons roll over, leave what the obviously right leaderboard says."""

from __future__ import annotations

import random
from typing import Any

from deploy.verify import verify
from score_service.sealing import Sealer
from shared.index import RankingIndex
from shared.names import microseconds, uuid7
from shared.postgres import Pool
from shared.wire import Wire
from tests.integration.test_score_seasons import HOUR, WEEK, hour
from tests.model import Board, Game, Session
from tests.score import Score, score_service
from tests.support import wait_until

HOURS = 9
"""Hours in which is played, one after the other; they end one after the other too."""

KINDS: list[tuple[dict[str, Any], Board]] = [
    ({"schedule": "hourly", "ties": "dense"}, Board("sum", ties="dense", hours=1)),
    ({"schedule": "hourly", "operator": "best", "ties": "first"}, Board("best", ties="first", hours=1)),
    ({"schedule": "0 */6 * * *", "operator": "latest"}, Board("latest", hours=6)),
    ({"schedule": "daily", "operator": "count", "order": "asc"}, Board("count", "asc", hours=24)),
    ({"operator": "best", "order": "asc"}, Board("best", "asc")),
    ({}, Board()),
]
SHOWN = """SELECT e.season, e.user_id, e.score
             FROM entries AS e JOIN leaderboards AS l USING (leaderboard_id, generation)
            WHERE l.leaderboard = $1 AND NOT e.hidden AND e.deleted_at IS NULL"""
FINAL = """SELECT f.season, f.user_id, f.score
             FROM final_standings AS f JOIN leaderboards USING (leaderboard_id, generation)
             JOIN seasons AS s USING (leaderboard_id, generation, season)
            WHERE leaderboard = $1 AND s.sealed_at IS NOT NULL"""
ROLL = "UPDATE seasons SET closes_at = now() WHERE ends_at <= $1 AND closed_at IS NULL"
BUILT = """SELECT NOT EXISTS (SELECT FROM leaderboards WHERE status <> 'ready')
              AND NOT EXISTS (SELECT FROM builds)"""


class Deeds:
    """Does the same to score_service and to the model."""

    def __init__(self, score: Score, sealer: Sealer, pool: Pool, rng: random.Random) -> None:
        self.score = score
        self.sealer = sealer
        self.pool = pool
        self.rng = rng
        self.model = Game()
        self.ever_banned: set[str] = set()
        self.back = HOURS

    async def submit(self) -> None:
        for _ in range(4):
            session_id = uuid7()
            played_at = hour(self.rng.randrange(self.back)) + self.rng.randrange(3) * HOUR / 3600
            scores = {f"u{n}": self.rng.randrange(6) for n in self.rng.sample(range(8), 3)}
            body: dict[str, Any] = {"session_id": str(session_id), "played_at": played_at.isoformat()}
            await self.score.post(*scores.items(), **body)
            session = Session(session_id, scores, microseconds(played_at))
            assert self.model.record(session) == "recorded"

    async def void(self) -> None:
        if self.model.sessions:
            session_id = self.rng.choice(sorted(self.model.sessions))
            game: Any = await self.score.state["games"].get("demo")
            await self.score.state["moderation"].void(game, str(session_id), "cheated", "key-1")
            self.model.voided.add(session_id)

    async def ban(self) -> None:
        for user in self.model.users()[:1]:
            game: Any = await self.score.state["games"].get("demo")
            moderation = self.score.state["moderation"]
            if user in self.model.banned:
                await moderation.unban(game, user, "key-1")
            else:
                await moderation.ban(game, user, None, "key-1")
            self.model.banned ^= {user}
            self.ever_banned.add(user)

    async def erase(self) -> None:
        for user in self.model.users()[-1:]:
            game: Any = await self.score.state["games"].get("demo")
            await self.score.state["erasure"].erase(game, user, "key-1")
            self.model.erase(user)

    async def define(self) -> None:
        """Define a board, or define one anew."""
        name = self.rng.choice(["a", "b", "c"])
        body, board = self.rng.choice(KINDS)
        await self.score.define(**{name: body})
        await wait_until(lambda: self.pool.fetchval(BUILT))
        self.model.boards[name] = board

    async def roll(self) -> None:
        """An hour is over for late results too; whatever ends with it is sealed."""
        if self.back > 1:
            self.back -= 1
            await self.pool.execute(ROLL, hour(self.back - 1))
            await self.sealer.run()

    async def check(self) -> None:
        for name, board in self.model.boards.items():
            expected = {
                (season, line.user_id, line.score)
                for season in {board.season(each.played_at) for each in self.model.sessions.values()}
                for line in self.model.standings(name, season)
            }
            found = {tuple(row) for row in await self.pool.fetch(SHOWN, name)}
            assert found == expected, (name, board)
            sealed = {tuple(row) for row in await self.pool.fetch(FINAL, name)}
            at = {row[0] for row in sealed}
            # Who was banned when a season was sealed is not in it; a ban since then takes nobody out.
            certain = {row for row in expected if row[0] in at and row[1] not in self.ever_banned}
            assert {row for row in sealed if row[1] not in self.ever_banned} == certain


async def test_random_deeds_leave_what_the_model_says(
    database_url: str, redis_url: str, pool: Pool, rng: random.Random
) -> None:
    wire = Wire(redis_url, timeout=5.0)
    index = RankingIndex(wire, idle_ms=60_000)
    index.database_identity = "tests"
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        deeds = Deeds(score, Sealer(pool, index), pool, rng)
        await score.define()
        for _ in range(60):
            does = [deeds.submit, deeds.submit, deeds.void, deeds.ban, deeds.erase, deeds.define, deeds.roll]
            await rng.choice(does)()
            if rng.random() < 0.2:
                await deeds.check()
        await deeds.roll()
        await deeds.check()
        for name in deeds.model.boards:
            found = await verify(database_url, redis_url, "demo", name, None, lambda *_: None)
            assert found.first == []
    await wire.close()
