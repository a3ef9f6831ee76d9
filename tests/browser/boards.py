"""A leaderboard of a test's own in the game anyone may read: told apart by the mode of its sessions."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import httpx

from tests.support import wait_until


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
        assert (await self.client.put(self.path, json=body)).status_code in (200, 201)
        await wait_until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.client.get(f"{self.path}/top")).status_code == 200

    async def drop(self) -> None:
        """Remove it."""
        await self.client.delete(self.path)

    async def play(self, **scores: int) -> None:
        """Record a session; `_` in a keyword becomes `-` of this board's players."""
        results = [{"user_id": self.user(name), "score": score} for name, score in scores.items()]
        reply = await self.client.post(
            "/v1/games/demo/sessions", json={"mode": self.name, "results": results}
        )
        assert reply.status_code == 201, reply.text

    def user(self, name: str) -> str:
        """Return the id of a player of this board."""
        return f"{name}-{self.name}"

    async def call(self, name: str, display_name: str, country: str | None = None) -> None:
        """Give a player a name."""
        profile = {"display_name": display_name, "country": country}
        reply = await self.client.put(f"/v1/games/demo/users/{self.user(name)}", json=profile)
        assert reply.status_code == 200, reply.text
