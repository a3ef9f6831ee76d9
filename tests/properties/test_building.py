"""Boards defined and defined anew at random, and built behind what everyone does, end as the model says."""

from __future__ import annotations

import asyncio
import random
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from shared.names import microseconds, uuid7
from shared.postgres import Pool
from tests.integration.test_score_seasons import HOUR, WEEK, hour
from tests.model import Board, Game, Session, Standing
from tests.score import Score, score_service
from tests.support import wait_until

DEFINITIONS: list[tuple[dict[str, Any], Board]] = [
    (
        {"operator": operator, "order": order, "ties": ties, "modes": modes, "schedule": schedule},
        Board(operator, order, ties, modes and frozenset(modes), hours=1 if schedule else 0),  # type: ignore[arg-type]
    )
    for (operator, order, ties), modes, schedule in zip(
        product(("sum", "best", "latest", "count"), ("desc", "asc"), ("competition", "dense", "first")),
        [None, ["ranked"]] * 12,
        [None, "hourly", "hourly"] * 8,
        strict=True,
    )
]
NO_BUILDS = "SELECT NOT EXISTS (SELECT FROM builds)"
LINES = """SELECT e.season, e.user_id, e.score
             FROM entries e JOIN leaderboards l USING (leaderboard_id, generation)
            WHERE l.leaderboard = $1 AND NOT e.hidden AND e.deleted_at IS NULL
            ORDER BY e.season, e.sort_key, e.tiebreak, e.user_id"""
OVER = "UPDATE seasons SET closes_at = now() WHERE ends_at < now() AND sealed_at IS NULL"
LEFT = """SELECT NOT EXISTS (SELECT FROM seasons JOIN generations USING (leaderboard_id, generation)
                              WHERE ends_at < now() AND sealed_at IS NULL)"""
FINAL = """SELECT f.rank, f.user_id, f.score, f.ties, f.season
             FROM final_standings AS f JOIN leaderboards USING (leaderboard_id, generation)
            WHERE leaderboard = $1 ORDER BY season, place"""


class Play:
    """Does the same to two services and to the model."""

    def __init__(self, services: list[Score], rng: random.Random) -> None:
        self.services = services
        self.rng = rng
        self.model = Game({"global": Board()})
        self.leaving = ""
        """Who is being erased: whether a result comes before that or after, only the database knows."""

    @property
    def state(self) -> Any:
        return self.rng.choice(self.services).state

    async def game(self) -> Any:
        return await self.state["games"].get("demo")

    async def submit(self) -> None:
        session_id, mode = uuid7(), self.rng.choice(["ranked", "casual"])
        played_at = hour(self.rng.randrange(3)) + self.rng.randrange(4) * HOUR / 3600
        users = [user for user in map("u{}".format, range(12)) if user != self.leaving]
        scores = {user: self.rng.randrange(10) for user in self.rng.sample(users, 3)}
        service = self.rng.choice(self.services)
        await service.post(
            *scores.items(), session_id=str(session_id), played_at=played_at.isoformat(), mode=mode
        )
        self.model.sessions[session_id] = Session(session_id, scores, microseconds(played_at), mode)

    async def define(self) -> None:
        name = self.rng.choice(["global", "a", "b", "c"])
        body, board = self.rng.choice(DEFINITIONS)
        await self.rng.choice(self.services).define(**{name: body})
        self.model.boards[name] = board

    async def void(self) -> None:
        session_id: UUID = self.rng.choice(sorted(self.model.sessions))
        await self.state["moderation"].void(await self.game(), str(session_id), "cheated", "key-1")
        self.model.voided.add(session_id)

    async def ban(self) -> None:
        user = self.rng.choice(self.model.users())
        moderation = self.state["moderation"]
        if user in self.model.banned:
            await moderation.unban(await self.game(), user, "key-1")
        else:
            await moderation.ban(await self.game(), user, None, "key-1")
        self.model.banned ^= {user}

    async def erase(self) -> None:
        self.leaving = self.rng.choice(self.model.users())
        await self.state["erasure"].erase(await self.game(), self.leaving, "key-1")
        self.model.erase(self.leaving)
        self.leaving = ""

    def expected(self, name: str, *, over: bool = False) -> list[tuple[int, Standing]]:
        """Return the lines of a board, of all its seasons or of those that are over."""
        board = self.model.boards[name]
        seasons = {board.season(session.played_at) for session in self.model.sessions.values()}
        now = board.season(microseconds(hour())) if board.hours else 0
        return [
            (season, line)
            for season in sorted(seasons)
            for line in self.model.standings(name, season)
            if not over or (board.hours and season < now)
        ]


async def test_whatever_is_defined_while_everything_goes_on_ends_as_the_model_says(
    database_url: str, redis_url: str, pool: Pool, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, users in (("FIRST_CHUNK", 2), ("MAX_CHUNK", 3)):
        monkeypatch.setattr(f"score_service.building.{bound}", users)
    settings = {"season_grace_seconds": WEEK, "build_patience_ms": 0, "score_batch_results": 9}
    async with (
        score_service(database_url, redis_url, **settings) as one,
        score_service(database_url, redis_url, **settings) as two,
    ):
        await one.define()
        play = Play([one, two], rng)
        await asyncio.gather(*(play.submit() for _ in range(20)))
        for _ in range(12):
            await asyncio.gather(*(play.submit() for _ in range(8)), play.define())
            for does in rng.sample([play.void, play.ban, play.erase, play.define], 2):
                await asyncio.gather(does(), *(play.submit() for _ in range(rng.choice([0, 4]))))
        await wait_until(lambda: pool.fetchval(NO_BUILDS), timeout=30)
        for name in play.model.boards:
            lines = [tuple(row) for row in await pool.fetch(LINES, name)]
            assert lines == [(season, line.user_id, line.score) for season, line in play.expected(name)], name
        for _ in range(4):
            # A generation begins with the grace there is now: its past seasons are over when it is there.
            await pool.execute(OVER)
            await wait_until(lambda: pool.fetchval(LEFT), timeout=20)
            await play.define()
            await wait_until(lambda: pool.fetchval(NO_BUILDS), timeout=30)
        await pool.execute(OVER)
        await wait_until(lambda: pool.fetchval(LEFT), timeout=20)
    for name in play.model.boards:
        final = [(row[4], Standing(*row[:4])) for row in await pool.fetch(FINAL, name)]
        assert final == [] or final == play.expected(name, over=True), name
