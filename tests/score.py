"""A score_service inside the test: everything but the HTTP server, on real Postgres and Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from score_service.app import State, open_state
from score_service.settings import Settings
from shared.messages import GameIn, LeaderboardIn, LeaderboardOut, SessionIn, SessionOut


class Score:
    """Posts sessions and definitions the way the routes do."""

    def __init__(self, state: State, settings: Settings) -> None:
        self.state = state
        self.settings = settings

    async def define(self, game: str = "demo", /, **boards: Any) -> list[LeaderboardOut]:
        """Put a game and leaderboards."""
        await self.state["definitions"].put_game(game, GameIn())
        found = await self.state["games"].get(game)
        bodies = {name: msgspec.convert(body, LeaderboardIn) for name, body in boards.items()}
        return [
            (await self.state["definitions"].put_leaderboard(found, name, body))[0]
            for name, body in bodies.items()
        ]

    async def post(
        self, *results: tuple[str, int], game: str = "demo", timeout: float = 20.0, **fields: Any
    ) -> tuple[SessionOut, bool]:
        """Post one session of (user_id, score) results; return the answer and whether it is a replay."""
        body = {"results": [{"user_id": user, "score": score} for user, score in results], **fields}
        session = msgspec.convert(body, SessionIn)
        found = await self.state["games"].get(game)
        deadline = asyncio.get_running_loop().time() + timeout
        return await self.state["sessions"].record(found, session, deadline)


@asynccontextmanager
async def score_service(database_url: str, redis_url: str, **settings: Any) -> AsyncIterator[Score]:
    """Open a score_service for the length of the block."""
    chosen = Settings(database_url=database_url, redis_url=redis_url, **settings)
    async with AsyncExitStack() as stack:
        yield Score(await open_state(chosen, stack), chosen)
