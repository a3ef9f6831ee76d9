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
from tests.support import wait_until

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

VISIBLE_WITHIN = 5.0
"""Seconds in which reads must show a session that was answered without ranks. We promise 2; this machine
may be busy."""


@dataclass
class Crowd:
    """Writers and readers of one game; a second game is quiet, its standings never change."""

    api: httpx.AsyncClient
    rng: random.Random
    path: str = field(default_factory=lambda: f"/v1/games/fault-{uuid4().hex[:8]}")
    sent: dict[str, dict[str, int]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    due: dict[str, float] = field(default_factory=dict)
    """From when on reads must show an acknowledged session, by the loop's clock."""
    given_up: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[object] = field(default_factory=Counter)
    calm: dict[str, Any] = field(default_factory=dict)
    """The standings of the quiet game, by leaderboard."""

    async def prepare(self) -> None:
        """Define the boards; fill the quiet game. The last fault may be a moment ago: asked until done."""
        for path in (self.path, self.quiet):
            await self._insist("PUT", path, json={})
            for name, definition in BOARDS.items():
                await self._insist("PUT", f"{path}/leaderboards/{name}", json=definition)
        quiet = [{"user_id": user, "score": n // 3} for n, user in enumerate(USERS)]
        session = {"session_id": str(uuid7()), "mode": "ranked", "results": quiet}
        await self._insist("POST", f"{self.quiet}/sessions", json=session)
        for board in ("global", *BOARDS):
            self.calm[board] = await wait_until(lambda board=board: self._whole(board), timeout=20)  # type: ignore[misc]

    async def _whole(self, board: str) -> Any:
        """Return the quiet game's standings once all are in them: without Redis that takes a moment."""
        reply = await self._insist("GET", f"{self.quiet}/leaderboards/{board}/top?limit=100")
        found = reply.json()["entries"]
        return found if len(found) == len(USERS) else None

    async def _insist(self, method: str, path: str, **body: Any) -> httpx.Response:
        reply: httpx.Response = await wait_until(lambda: self._call(method, path, **body), timeout=20)
        return reply

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
            gives_up = self.rng.random() < 0.2
            await self.play(tries=1 if gives_up else None)

    async def play(self, tries: int | None = None) -> httpx.Response | None:
        """Record a session, sent again until it is answered; None when it was given up after `tries`."""
        users = self.rng.sample(USERS, self.rng.randint(1, 4))
        scores = {user: self.rng.randrange(1, 50) for user in users}
        session_id = str(uuid7())
        body = {
            "session_id": session_id,
            "mode": self.rng.choice(["ranked", "casual"]),
            "results": [{"user_id": user, "score": score} for user, score in scores.items()],
        }
        self.sent[session_id] = scores
        async with asyncio.timeout(PATIENCE):
            while (reply := await self._call("POST", f"{self.path}/sessions", json=body)) is None:
                if tries is not None and (tries := tries - 1) <= 0:
                    self.given_up.add(session_id)
                    return None
        self.acknowledged.add(session_id)
        changes = [change for result in reply.json()["results"] for change in result["entries"]]
        without_ranks = any(change["rank"] is None for change in changes)
        now = asyncio.get_running_loop().time()
        self.due[session_id] = now + VISIBLE_WITHIN if without_ranks else now
        return reply

    async def _read(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._read_entry(self.rng.choice(USERS))
            await self.read_quiet()
            await self._read_top()

    async def _read_entry(self, user: str) -> None:
        now = asyncio.get_running_loop().time()
        least = sum(self.sent[session].get(user, 0) for session, due in self.due.items() if due <= now)
        path = f"{self.path}/leaderboards/global/users/{user}"
        reply = await self._call("GET", path, also={404})
        if reply is None:
            return
        most = sum(scores.get(user, 0) for scores in self.sent.values())
        score = 0 if reply.status_code == 404 else reply.json()["entry"]["score"]
        if not least <= score <= most:
            self.wrong.append(f"{user} has {score}, not {least}..{most}: {reply.text}")

    async def read_quiet(self) -> httpx.Response | None:
        """Read a page and an entry of the quiet game: they must be as they ever were."""
        board = self.rng.choice(list(self.calm))
        reply = await self._call("GET", f"{self.quiet}/leaderboards/{board}/top?limit=100")
        if reply is not None and reply.json()["entries"] != self.calm[board]:
            self.wrong.append(f"the quiet game changed: {reply.text}")
        line = self.rng.choice(self.calm[board])
        one = await self._call("GET", f"{self.quiet}/leaderboards/{board}/users/{line['user_id']}")
        if one is not None and not line.items() <= one.json()["entry"].items():
            self.wrong.append(f"{line} of the quiet game changed: {one.text}")
        return None if one is None else reply

    async def _read_top(self) -> None:
        board = self.rng.choice(list(self.calm))
        reply = await self._call("GET", f"{self.path}/leaderboards/{board}/top?limit=100")
        if reply is None:
            return
        found = reply.json()
        scores = [entry["score"] for entry in found["entries"]]
        told = [(entry["rank"], entry["ties"]) for entry in found["entries"]]
        ties = BOARDS.get(board, {}).get("ties", "competition")
        if told != list(zip(ranks(ties, scores), map(scores.count, scores), strict=True)):
            self.wrong.append(f"ranks do not fit the scores beside them: {reply.text}")
        if scores != sorted(scores, reverse=BOARDS.get(board, {}).get("order") != "asc"):
            self.wrong.append(f"not in order: {reply.text}")
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
            try:
                reply.json()
            except ValueError:
                self.wrong.append(f"{method} {path}: no JSON: {reply.headers!r} {reply.content!r}")
                return None
            return reply
        if reply.status_code not in CLEAN_ERRORS:
            self.wrong.append(f"{method} {path}: {reply.status_code} {reply.text}")
        return None


def ranks(ties: str, scores: list[int]) -> list[int]:
    """Return the ranks of scores that stand in their order."""
    match ties:
        case "first":
            return list(range(1, len(scores) + 1))
        case "dense":
            distinct = list(dict.fromkeys(scores))
            return [1 + distinct.index(score) for score in scores]
    return [1 + scores.index(score) for score in scores]
