"""Clients of one game: what they do side by side, noted so that a judge can tell whether it can be true."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import httpx

from shared.names import season_id, uuid7
from tests.acceptance.world import Did, Judge, State, World, session_of
from tests.model import Standing
from tests.support import wait_until

USERS = [f"u{n:02}" for n in range(16)]
MINUTES = "minutes"

T = TypeVar("T")


def line_of(entry: dict[str, Any]) -> Standing:
    return Standing(entry["rank"], entry["user_id"], entry["score"], entry["ties"])


class Players:
    """Does what the machine decides on, from `rng`, to the stack and to the model."""

    def __init__(self, api: httpx.AsyncClient, flush: Callable[[], Awaitable[Any]], path: str) -> None:
        self.api = api
        self.flush = flush
        self.path = path
        self.world = World({})
        self.bodies: dict[UUID, dict[str, Any]] = {}
        self.calls = 0
        self.began = datetime.now(UTC).replace(microsecond=0)
        self.log: list[str] = []
        self._clock = count()

    async def call(self, method: str, path: str, *allowed: int, body: Any = None) -> httpx.Response:
        """Call, and insist on one of these statuses."""
        self.calls += 1
        reply = await self.api.request(method, f"{self.path}{path}", json=body)
        self.log.append(f"{method} {path} {body}: {reply.status_code} {reply.text[:2000]}")
        assert reply.status_code in allowed, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply

    # --- side by side

    async def burst(self, rng: random.Random) -> None:
        """Let up to three clients do up to three things each, side by side; judge the answers."""
        self._free = rng.sample(self.world.users(), len(self.world.users()))
        plans = [[rng.choice(DEEDS) for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 3))]
        while sum(deed in CHANGES for plan in plans for deed in plan) > 5:
            plans.pop()
        done: list[Did] = []
        streams = [random.Random(rng.random()) for _ in plans]

        async def play(plan: list[Deed], own: random.Random) -> None:
            for deed in plan:
                did = Did(next(self._clock), what=getattr(deed, "__name__", ""))
                done.append(did)
                await deed(self, own, did)
                did.ended = next(self._clock)

        self.log.clear()
        await asyncio.gather(*map(play, plans, streams))
        judge = Judge(self.world, done)
        wrong, self.world = judge.wrong(), judge.after()
        assert not wrong, "\n".join([*wrong, *self.log])

    def _body(self, rng: random.Random) -> dict[str, Any]:
        old = rng.random() < 0.1
        at = self.began - timedelta(hours=3 * old, seconds=rng.randrange(150))
        users = rng.sample(USERS, rng.randint(1, 4))
        return {
            "session_id": str(uuid7()),
            "mode": rng.choice(["ranked", "casual"]),
            "played_at": at.isoformat(),
            "results": [{"user_id": user, "score": rng.randrange(-3, 12)} for user in users],
        }

    def _recorded(self, did: Did, body: dict[str, Any], answer: dict[str, Any]) -> None:
        for result in answer["results"]:
            for entry in result["entries"]:
                if entry["season"] is not None:
                    self._told(did, result["user_id"], entry)

    def _told(self, did: Did, user: str, entry: dict[str, Any]) -> None:
        board, season = entry["leaderboard"], key_of(entry["season"])
        score, rank, ties = entry["score"], entry["rank"], entry["ties"]

        def agrees(state: State) -> bool:
            if rank is None:
                return bool(state.world.score(board, season, user) == score)
            return bool(state.line(board, season, user) == Standing(rank, user, score, ties))

        did.says(f"a session's answer: {user} {entry}", agrees)

    async def submit(self, rng: random.Random, did: Did) -> None:
        """Record a session."""
        body = self._body(rng)
        self._will_record(did, [body])
        reply = await self.call("POST", "/sessions", 201, body=body)
        self._recorded(did, body, reply.json())

    async def submit_batch(self, rng: random.Random, did: Did) -> None:
        """Record two sessions in one call; one that breaks a rule among them changes nothing."""
        bodies = [self._body(rng) for _ in range(2)]
        self._will_record(did, bodies)
        wrong = {**self._body(rng), "results": []}
        reply = await self.call("POST", "/sessions/batch", 200, body={"sessions": [*bodies, wrong]})
        found = reply.json()["sessions"]
        assert [each["status"] for each in found] == [201, 201, 422], found

    def _will_record(self, did: Did, bodies: list[dict[str, Any]]) -> None:
        now = time.time_ns() // 1000
        sessions = [session_of(body) for body in bodies]

        did.effects = [partial(World.take, session=session, now=now) for session in sessions]
        self.bodies |= {session.session_id: body for session, body in zip(sessions, bodies, strict=True)}

    async def replay(self, rng: random.Random, _: Did) -> None:
        """Send a session again: nothing changes."""
        if self.world.sessions:
            body = self.bodies[rng.choice(list(self.world.sessions))]
            reply = await self.call("POST", "/sessions", 200, body=body)
            assert reply.headers["idempotent-replayed"] == "true"

    async def void(self, rng: random.Random, did: Did) -> None:
        """Take a session out."""
        if self.world.sessions:
            session_id = rng.choice(list(self.world.sessions))
            did.effects = [lambda world: world.voided.add(session_id)]
            await self.call("POST", f"/sessions/{session_id}/void", 200, body={"reason": "cheated"})

    async def ban(self, rng: random.Random, did: Did) -> None:
        """Ban a user, or lift the ban; nobody else does so to the same one meanwhile."""
        if self._free:
            user = self._free.pop()
            if user in self.world.banned:
                did.effects = [lambda world: world.banned.discard(user)]
                await self.call("DELETE", f"/users/{user}/ban", 200)
            else:
                did.effects = [lambda world: world.banned.add(user)]
                await self.call("POST", f"/users/{user}/ban", 200)

    async def empty_redis(self, *_: Any) -> None:
        """FLUSHALL."""
        await self.flush()

    def _where(self, rng: random.Random) -> tuple[str, int, str]:
        """Choose a board and a season; return the query too."""
        board = rng.choice(sorted(self.world.boards))
        if board != MINUTES:
            return board, 0, "season=all"
        season = int((self.began - timedelta(seconds=rng.randrange(150))).timestamp()) // 60 * 60
        return board, season, f"season={season_id(season)}"

    async def read_top(self, rng: random.Random, did: Did) -> None:
        """Read a page."""
        board, season, query = self._where(rng)
        offset, limit = rng.randrange(6), rng.randint(1, 16)
        reply = await self._read(f"/leaderboards/{board}/top?{query}&offset={offset}&limit={limit}")
        if reply is None:
            did.says(f"no season {season} of {board}", lambda state: not state.standings(board, season))
            return
        found = [line_of(entry) for entry in reply["entries"]]

        def agrees(state: State) -> bool:
            lines = state.standings(board, season)
            return (reply["total"], found) == (len(lines), lines[offset : offset + limit])

        did.says(f"top of {board} from {offset}: {reply}", agrees)

    async def read_around(self, rng: random.Random, did: Did) -> None:
        """Read a user's neighbourhood."""
        board, season, query = self._where(rng)
        user, radius = rng.choice(USERS), rng.randint(1, 5)
        reply = await self._read(f"/leaderboards/{board}/users/{user}/around?{query}&radius={radius}")
        found = None if reply is None else [line_of(entry) for entry in reply["entries"]]

        def agrees(state: State) -> bool:
            line = state.line(board, season, user)
            if line is None:
                return found is None
            lines = state.standings(board, season)
            at = lines.index(line)
            return found == lines[max(0, at - radius) : at + radius + 1]

        did.says(f"around {user} on {board}: {reply}", agrees)

    async def read_entry(self, rng: random.Random, did: Did) -> None:
        """Read a user's entry."""
        board, season, query = self._where(rng)
        user = rng.choice(USERS)
        reply = await self._read(f"/leaderboards/{board}/users/{user}?{query}")
        found = None if reply is None else (line_of(reply["entry"]), reply["total"])

        def agrees(state: State) -> bool:
            line = state.line(board, season, user)
            return found == (None if line is None else (line, len(state.standings(board, season))))

        did.says(f"{user} on {board}: {reply}", agrees)

    async def look_up(self, rng: random.Random, did: Did) -> None:
        """Read some users' entries."""
        board = rng.choice(sorted(self.world.boards.keys() - {MINUTES}))
        users = rng.sample(USERS, rng.randint(1, 6))
        body = {"user_ids": users}
        reply = (await self.call("POST", f"/leaderboards/{board}/lookup", 200, body=body)).json()
        found = {entry["user_id"]: line_of(entry) for entry in reply["entries"]}
        assert {*found, *reply["missing"]} == set(users)
        did.says(
            f"lookup on {board}: {reply}",
            lambda state: all(state.line(board, 0, user) == found.get(user) for user in users),
        )

    async def ask_rank(self, rng: random.Random, did: Did) -> None:
        """Read the rank a score would have."""
        board = rng.choice(sorted(self.world.boards.keys() - {MINUTES}))
        score = rng.randrange(-10, 60)
        reply = (await self.call("GET", f"/leaderboards/{board}/rank?score={score}", 200)).json()

        def agrees(state: State) -> bool:
            rules = state.world.boards[board]
            sign = 1 if rules.order == "desc" else -1
            scores = [line.score for line in state.standings(board)]
            better = [each for each in scores if sign * each > sign * score]
            ties = scores.count(score)
            ahead = {
                "competition": len(better),
                "dense": len(set(better)),
                "first": len(better) + ties,
            }[rules.ties]
            return (reply["rank"], reply["ties"]) == (ahead + 1, ties)

        did.says(f"rank of {score} on {board}: {reply}", agrees)

    async def read_session(self, rng: random.Random, did: Did) -> None:
        """Read a session as it was recorded."""
        if self.world.sessions:
            session_id = rng.choice(list(self.world.sessions))
            reply = (await self.call("GET", f"/sessions/{session_id}", 200)).json()
            is_void = reply["voided_at"] is not None
            did.says(
                f"{session_id} is void: {is_void}",
                lambda state: (session_id in state.world.voided) == is_void,
            )

    async def _read(self, path: str) -> dict[str, Any] | None:
        reply = await self.call("GET", path, 200, 404)
        found: dict[str, Any] = reply.json()
        if reply.status_code == 404:
            assert found["code"] in ("entry_not_found", "season_not_found"), found
            return None
        return found

    # --- one at a time

    async def erase(self, rng: random.Random) -> None:
        """Erase a user."""
        if self.world.users():
            user = rng.choice(self.world.users())
            await self.call("DELETE", f"/users/{user}", 204)
            self.world.erase(user)
            await self.call("GET", f"/users/{user}", 404)

    async def conflict(self, rng: random.Random) -> None:
        """Send other content under a known session id."""
        if self.world.sessions:
            session_id = rng.choice(list(self.world.sessions))
            body = self.bodies[session_id]
            other = {**body, "results": [*body["results"], {"user_id": "stranger", "score": 1}]}
            await self.call("POST", "/sessions", 409, body=other)
            await self.call("GET", "/users/stranger", 404)

    async def name(self, rng: random.Random) -> None:
        """Give a user a profile; every read shows it."""
        if self.world.users():
            user, name = rng.choice(self.world.users()), f"N{rng.randrange(1000)}"
            await self.call("PUT", f"/users/{user}", 200, 201, body={"display_name": name})

            async def is_shown() -> bool:
                reply = await self.call("GET", f"/users/{user}", 200)
                return bool(reply.json()["display_name"] == name)

            await wait_until(is_shown)

    async def archive(self, _: random.Random) -> None:
        """Archive the game and bring it back, as it was."""
        await self.call("DELETE", "", 200)
        await self._until("GET", "/leaderboards", 404)
        await self.call("POST", "/sessions", 404, body=self._body(random.Random(0)))
        await self.call("PUT", "", 200, body={})
        await self._until("GET", "/leaderboards", 200)

    async def check(self, _: random.Random | None = None) -> None:
        """Compare all standings."""
        now = int(self.began.timestamp()) // 60 * 60
        for board in sorted(self.world.boards):
            for season in [0] if board != MINUTES else range(now - 180, now + 60, 60):
                query = "season=all" if season == 0 else f"season={season_id(season)}"
                reply = await self._read(f"/leaderboards/{board}/top?{query}&limit=100")
                found = [] if reply is None else [line_of(entry) for entry in reply["entries"]]
                assert found == self.world.standings(board, season), (board, season)

    async def _until(self, method: str, path: str, status: int) -> None:
        """Call until the answer is as wanted: what is kept of definitions may be a second old."""

        async def is_so() -> bool:
            self.calls += 1
            return (await self.api.request(method, f"{self.path}{path}")).status_code == status

        await wait_until(is_so)


def key_of(season: str) -> int:
    """Return the model's name of a season."""
    return 0 if season == "all" else int(datetime.fromisoformat(season).timestamp())


Deed = Callable[[Players, random.Random, Did], Awaitable[None]]
CHANGES: list[Deed] = [Players.submit, Players.submit_batch, Players.void, Players.ban]
READS: list[Deed] = [
    Players.read_top,
    Players.read_around,
    Players.read_entry,
    Players.look_up,
    Players.ask_rank,
    Players.read_session,
]
DEEDS: list[Deed] = [
    *READS,
    *READS,
    *CHANGES,
    Players.submit,
    Players.submit,
    Players.replay,
    Players.empty_redis,
]
