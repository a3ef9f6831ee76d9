"""A season that ends while things break: sealed once, whatever happens, and never other than it was."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from shared.names import uuid7
from tests.support import wait_until

SCORES = {f"s{n}": 10 - n // 2 for n in range(9)}
STANDINGS = [
    (1 + sum(other > score for other in SCORES.values()), user, score) for user, score in SCORES.items()
]
DIGEST = hashlib.sha256("".join(f"{rank},{user},{score}\n" for rank, user, score in STANDINGS).encode())

SEALED_AFTER = 30
"""Seconds from now until the season of the minute before this one is sealed."""

SEALED = """SELECT s.digest, s.total, s.previous_digests::text
  FROM seasons AS s JOIN leaderboards AS l USING (leaderboard_id, generation) JOIN games AS g USING (game_id)
 WHERE g.game = $1 AND s.sealed_at IS NOT NULL"""


@dataclass
class Season:
    """The minute before this one, in which everybody in SCORES played; `grace` has it sealed soon."""

    began: int = field(default_factory=lambda: int(time.time()) // 60 * 60 - 60)
    game: str = field(default_factory=lambda: f"sealing-{uuid4().hex[:8]}")
    sealed: bool = False

    @property
    def board(self) -> str:
        """The path of its leaderboard."""
        return f"/v1/games/{self.game}/leaderboards/minutes"

    @property
    def grace(self) -> str:
        """What SEASON_GRACE_SECONDS must be."""
        return str(int(time.time()) - self.began - 60 + SEALED_AFTER)

    async def prepare(self, api: httpx.AsyncClient) -> None:
        """Define the board and record the season's only session."""
        played_at = datetime.fromtimestamp(self.began + 30, UTC).isoformat()
        results = [{"user_id": user, "score": score} for user, score in SCORES.items()]
        session = {"session_id": str(uuid7()), "played_at": played_at, "results": results}
        for method, path, body in (
            ("PUT", f"/v1/games/{self.game}", {}),
            ("PUT", self.board, {"schedule": "* * * * *"}),
            ("POST", f"/v1/games/{self.game}/sessions", session),
        ):
            reply = await api.request(method, path, json=body)
            assert reply.status_code == 201, reply.text
        await wait_until(lambda: self.read(api), timeout=20)

    async def read(self, api: httpx.AsyncClient) -> list[Any] | None:
        """Return the season's standings as they are answered; None for an error."""
        season = datetime.fromtimestamp(self.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        reply = await api.get(f"{self.board}/top?season={season}&limit=100")
        if not reply.is_success:
            return None
        return [(entry["rank"], entry["user_id"], entry["score"]) for entry in reply.json()["entries"]]

    async def check(self, api: httpx.AsyncClient, connection: asyncpg.Connection[Any]) -> None:
        """Check that the season is what it was, and that its seal is of that and the only one."""
        assert await wait_until(lambda: self.read(api), timeout=20) == STANDINGS
        rows = [tuple(row) for row in await connection.fetch(SEALED, self.game)]
        assert rows or not self.sealed, "a season is unsealed"
        assert rows in ([], [(DIGEST.hexdigest(), len(SCORES), "[]")]), rows
        self.sealed = bool(rows)
