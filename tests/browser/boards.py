"""A leaderboard of a test's own in the game anyone may read: told apart by the mode of its sessions.

What takes days or hours to come about, past seasons and daily ranks, is put into the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import asyncpg
import httpx

from tests.support import wait_until

RECORDED_AS_PLAYED = """
UPDATE game_sessions SET recorded_at = played_at
 WHERE mode = $2 AND game_id = (SELECT game_id FROM games WHERE game = $1)
"""
SNAPSHOTS = """
INSERT INTO snapshots (leaderboard_id, generation, season, day, version_until, total)
SELECT leaderboard_id, generation, 0, day, 0, 1000
  FROM leaderboards, unnest($3::date[]) AS day
 WHERE leaderboard = $2 AND game_id = (SELECT game_id FROM games WHERE game = $1)
ON CONFLICT DO NOTHING
"""
RANKS = """
INSERT INTO snapshot_ranks (leaderboard_id, generation, season, day, user_id, rank, score)
SELECT leaderboard_id, generation, 0, day, $4, rank, 0
  FROM leaderboards, unnest($3::date[], $5::bigint[]) AS noted (day, rank)
 WHERE leaderboard = $2 AND game_id = (SELECT game_id FROM games WHERE game = $1)
ON CONFLICT DO NOTHING
"""
INVENTED = """
WITH invented AS (
     DELETE FROM snapshots
      WHERE version_until = 0
        AND leaderboard_id IN (
            SELECT leaderboard_id FROM leaderboards JOIN games USING (game_id) WHERE game = $1)
     RETURNING leaderboard_id, generation, season, day)
DELETE FROM snapshot_ranks AS r
 USING invented AS i
 WHERE (r.leaderboard_id, r.generation, r.season, r.day) = (i.leaderboard_id, i.generation, i.season, i.day)
"""


class Past:
    """Writes into the database of a stack what nobody can wait for."""

    def __init__(self, database_url: str, game: str = "demo") -> None:
        self._url = database_url
        self._game = game

    async def recorded_as_played(self, mode: str) -> None:
        """Make sessions of a mode look as if they had been recorded when they were played."""
        await self._execute((RECORDED_AS_PLAYED, mode))

    async def ranked(self, leaderboard: str, user: str, ranks: Sequence[int]) -> None:
        """Note daily ranks of a user, the last of them yesterday's."""
        days = [datetime.now(UTC).date() - timedelta(days=n) for n in range(len(ranks), 0, -1)]
        await self._execute((SNAPSHOTS, leaderboard, days), (RANKS, leaderboard, days, user, list(ranks)))

    async def forget(self) -> None:
        """Take daily ranks back that were noted here."""
        await self._execute((INVENTED,))

    async def _execute(self, *statements: tuple[Any, ...]) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            for sql, *values in statements:
                await connection.execute(sql, self._game, *values)
        finally:
            await connection.close()


class Board:
    """Defines a leaderboard, records results that count for it, names players."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.name = f"test-{token_hex(4)}"
        self.path = f"/v1/games/demo/leaderboards/{self.name}"
        self.address = f"/?game=demo&board={self.name}"

    async def define(self, **more: Any) -> None:
        """Create it and wait until it is ready."""
        body = {"title": self.name, "modes": [self.name], **more}
        reply = await self.client.put(self.path, json=body)
        assert reply.status_code in (200, 201), reply.text
        await wait_until(self._is_ready)

    async def _is_ready(self) -> bool:
        found = (await self.client.get(self.path)).json()
        return bool(found.get("status") == "ready")

    async def drop(self) -> None:
        """Remove it."""
        await self.client.delete(self.path)

    async def play(self, at: datetime | None = None, /, **scores: int) -> str:
        """Record a session of this board's players, now or when it was played; return its id."""
        results = [{"user_id": self.user(name), "score": score} for name, score in scores.items()]
        body = {"mode": self.name, "results": results, **({"played_at": at.isoformat()} if at else {})}
        reply = await self.client.post("/v1/games/demo/sessions", json=body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["session_id"])

    async def risen(self, name: str) -> int | None:
        """Return how many places a player has risen since yesterday, once that is known."""
        found = (await self.client.get(f"{self.path}/users/{self.user(name)}")).json()
        change: int | None = found["entry"]["rank_change"]
        return change

    def user(self, name: str) -> str:
        """Return the id of a player of this board."""
        return f"{name}-{self.name}"

    async def call(self, name: str, display_name: str, country: str | None = None) -> None:
        """Give a player a name."""
        profile = {"display_name": display_name, "country": country}
        reply = await self.client.put(f"/v1/games/demo/users/{self.user(name)}", json=profile)
        assert reply.status_code == 200, reply.text
