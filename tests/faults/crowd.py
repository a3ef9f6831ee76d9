"""Clients that play and read while things break: what they sent, what was answered, what was wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from shared.names import uuid7

USERS = [f"p{n:02}" for n in range(40)]
BOARDS: dict[str, dict[str, Any]] = {
    "laps": {"operator": "best", "order": "asc", "ties": "dense"},
    "form": {"operator": "latest", "ties": "first"},
    "games": {"operator": "count", "modes": ["ranked"]},
}
CLEAN_ERRORS = {429, 502, 503, 504}
"""What an answer may be while something is broken."""

PATIENCE = 60.0
"""Seconds within which a session that is sent again and again must have been recorded."""


@dataclass
class Crowd:
    """Writers and readers of one game; a second game is quiet, its standings never change."""

    api: httpx.AsyncClient
    rng: random.Random
    path: str = field(default_factory=lambda: f"/v1/games/fault-{uuid4().hex[:8]}")
    sent: dict[str, dict[str, int]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[object] = field(default_factory=Counter)
    calm: list[Any] = field(default_factory=list)

    async def prepare(self) -> None:
        """Define the boards; fill the quiet game."""
        quiet = [{"user_id": user, "score": n // 3} for n, user in enumerate(USERS)]
        for path, boards in ((self.path, BOARDS), (self.quiet, {})):
            assert (await self.api.put(path, json={})).status_code == 201
            for name, board in boards.items():
                reply = await self.api.put(f"{path}/leaderboards/{name}", json=board)
                assert reply.status_code == 201, reply.text
        assert (await self.api.post(f"{self.quiet}/sessions", json={"results": quiet})).status_code == 201
        self.calm = await self._quiet_page() or []
        assert len(self.calm) == len(USERS)

    @property
    def quiet(self) -> str:
        """The path of the game in which nothing happens."""
        return f"{self.path}-quiet"

    @asynccontextmanager
    async def playing(self, writers: int = 6, readers: int = 3) -> AsyncIterator[None]:
        """Play while the block lasts; then let everyone finish what they have begun."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(writers):
                group.create_task(self._write(over))
            for _ in range(readers):
                group.create_task(self._read(over))
            try:
                yield
            finally:
                over.set()

    async def _write(self, over: asyncio.Event) -> None:
        while not over.is_set():
            users = self.rng.sample(USERS, self.rng.randint(1, 4))
            scores = {user: self.rng.randrange(1, 50) for user in users}
            session_id = str(uuid7())
            body = {
                "session_id": session_id,
                "mode": self.rng.choice(["ranked", "casual"]),
                "results": [{"user_id": user, "score": score} for user, score in scores.items()],
            }
            self.sent[session_id] = scores
            gives_up = self.rng.random() < 0.2
            async with asyncio.timeout(PATIENCE):
                while await self._call("POST", f"{self.path}/sessions", json=body) is None:
                    if gives_up:
                        self.given_up.add(session_id)
                        break
                else:
                    self.acknowledged.add(session_id)

    async def _read(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._read_entry(self.rng.choice(USERS))
            page = await self._quiet_page()
            if page is not None and page != self.calm:
                self.wrong.append(f"the quiet game changed: {page}")
            await self._read_top()

    async def _read_entry(self, user: str) -> None:
        least = sum(self.sent[session].get(user, 0) for session in self.acknowledged)
        path = f"{self.path}/leaderboards/global/users/{user}"
        reply = await self._call("GET", path, also={404})
        if reply is None:
            return
        most = sum(scores.get(user, 0) for scores in self.sent.values())
        score = 0 if reply.status_code == 404 else reply.json()["entry"]["score"]
        if not least <= score <= most:
            self.wrong.append(f"{user} has {score}, not {least}..{most}: {reply.text}")

    async def _quiet_page(self) -> list[Any] | None:
        reply = await self._call("GET", f"{self.quiet}/leaderboards/global/top?limit=100")
        return None if reply is None else list(reply.json()["entries"])

    async def _read_top(self) -> None:
        reply = await self._call("GET", f"{self.path}/leaderboards/global/top?limit=100")
        if reply is None:
            return
        found = reply.json()
        scores = [entry["score"] for entry in found["entries"]]
        ranks = [1 + sum(other > score for other in scores) for score in scores]
        told = [(entry["rank"], entry["ties"]) for entry in found["entries"]]
        if told != [(rank, scores.count(score)) for rank, score in zip(ranks, scores, strict=True)]:
            self.wrong.append(f"ranks do not fit the scores beside them: {reply.text}")
        if found["total"] != len(scores):
            self.wrong.append(f"the total does not fit the page: {reply.text}")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        also: Set[int] = frozenset(),
        **body: Any,
    ) -> httpx.Response | None:
        """Call; None for an error that may be while something is broken, anything else is noted."""
        try:
            reply = await self.api.request(method, path, **body)
        except httpx.TransportError as error:
            self.statuses[type(error).__name__] += 1
            return None
        self.statuses[reply.status_code] += 1
        if reply.status_code in {200, 201, *also}:
            return reply
        if reply.status_code not in CLEAN_ERRORS:
            self.wrong.append(f"{method} {path}: {reply.status_code} {reply.text}")
        return None
