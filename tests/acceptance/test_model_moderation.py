"""The whole stack against the obviously right leaderboard, while everything is done that an admin can do."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

from tests.acceptance.test_model import BOARDS, make_game, random_session, record, standings
from tests.model import Board, Game
from tests.support import wait_until

FIRST = ("sum-desc-competition", "best-asc-first", "latest-desc-dense", "count-desc-first")


class Play:
    """Does the same to the stack and to the model."""

    def __init__(self, api: httpx.AsyncClient, path: str, model: Game, rng: random.Random) -> None:
        self.api = api
        self.path = path
        self.model = model
        self.rng = rng
        self.bodies: list[dict[str, Any]] = []

    async def call(self, method: str, path: str, *allowed: int, body: Any = None) -> None:
        reply = await self.api.request(method, f"{self.path}{path}", json=body)
        assert reply.status_code in allowed, reply.text

    async def submit(self) -> None:
        fresh = [random_session(self.rng) for _ in range(6)]
        await asyncio.gather(*(self.call("POST", "/sessions", 201, body=body) for body in fresh))
        for body in fresh:
            assert record(self.model, body, body["played_at"]) == "recorded"
        self.bodies += fresh

    async def replay(self) -> None:
        await self.call("POST", "/sessions", 200, body=self.rng.choice(self.bodies))

    async def void(self) -> None:
        session_id = self.rng.choice(list(self.model.sessions))
        await self.call("POST", f"/sessions/{session_id}/void", 200, body={"reason": "cheated"})
        self.model.voided.add(session_id)

    async def ban(self) -> None:
        user = self.rng.choice(self.model.users())
        await self.call("DELETE" if user in self.model.banned else "POST", f"/users/{user}/ban", 200)
        self.model.banned ^= {user}

    async def erase(self) -> None:
        user = self.rng.choice(self.model.users())
        await self.call("DELETE", f"/users/{user}", 204)
        self.model.erase(user)
        await self.call("DELETE", f"/users/{user}", 404)

    async def define(self) -> None:
        """Define a board, or give one another's definition."""
        name, board = self.rng.choice(sorted({*FIRST, "late"})), BOARDS[self.rng.choice(sorted(BOARDS))]
        modes = None if board.modes is None else sorted(board.modes)
        body: dict[str, Any] = {"operator": board.operator, "order": board.order, "ties": board.ties}
        body |= {"modes": modes, "min_score": board.min_score}
        await self.call("PUT", f"/leaderboards/{name}", 200, 201, body=body)
        self.model.boards[name] = board

        async def is_built() -> bool:
            found = (await self.api.get(f"{self.path}/leaderboards/{name}")).json()
            return bool(found["status"] == "ready" and found["operator"] == board.operator)

        await wait_until(is_built)

    async def check(self) -> None:
        for name in self.model.boards:

            async def is_so(name: str = name) -> bool:
                return await standings(self.api, self.path, name) == self.model.standings(name)

            # A definition may be a second old where it is read; then it must be as the model says.
            await wait_until(is_so)


async def test_boards_are_as_the_model_says_whatever_admins_do(
    api: httpx.AsyncClient, rng: random.Random
) -> None:
    boards = {name: BOARDS[name] for name in FIRST}
    path = await make_game(api, {**boards, "global": Board(min_score=-50)})
    play = Play(api, path, Game({**boards, "global": Board(min_score=-50)}), rng)
    await play.submit()
    for _ in range(30):
        does = rng.choice([play.submit, play.replay, play.void, play.ban, play.erase, play.define])
        await does()
        if rng.random() < 0.4:
            await play.check()
    await play.check()
