"""A typed client of the whole API, for game servers and for the `leaderboard` command.

    async with Leaderboard("https://scores.example.com", key) as board:
        await board.submit("chess", {"ada": 120, "bob": 80})
        async for event in board.events("chess", "global"):
            print(event.name, event.data)

A call that may have been lost is made again, with the same `session_id`: a session counts once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson

from deploy.client import Client, NotOk
from shared.names import uuid7

ATTEMPTS = 6
"""Times a call is made before we give up; the waits between them double, from `FIRST_WAIT` on."""

FIRST_WAIT = 0.2
MAX_WAIT = 10.0

AGAIN = frozenset({429, 502, 503, 504})
"""Statuses that say: not now."""


class Refused(Exception):
    """The API answered with a problem; `code` is stable, `detail` is for people."""

    def __init__(self, status: int, body: Any) -> None:
        body = body if isinstance(body, dict) else {}
        self.status = status
        self.code = str(body.get("code", "unknown"))
        fields = "; ".join(f"{each['path']}: {each['message']}" for each in body.get("errors", ()))
        self.detail = " - ".join(filter(None, (str(body.get("detail", "")), fields)))
        super().__init__(f"{status} {self.code}: {self.detail}")


class Away(Exception):
    """No answer could be had, or only `not now`, as often as we asked."""


class Event(NamedTuple):
    """What a stream says: `top`, `entry` or `season`, with the envelope the read call would answer."""

    name: str
    id: str
    data: dict[str, Any]


class Leaderboard:
    """Calls one server with one key.

    Args:
        url: where the gateway is.
        key: an API key; empty for what is public.
        connections: requests at once; more wait their turn.
        attempts: times a call is made before `Away` is raised.
    """

    def __init__(self, url: str, key: str = "", *, connections: int = 8, attempts: int = ATTEMPTS) -> None:
        self._client = Client(url, key, connections=connections)
        self._attempts = attempts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one call of the API, again where that is safe and helps; return the decoded body.

        Every call of this API may be repeated, but a session without a `session_id`: use `submit`.

        Raises:
            Refused: the API answered with a problem.
            Away: it could not be reached in time.
        """
        last: object = None
        for attempt in range(self._attempts):
            try:
                answer = await self._client.call(method, path, body)
            except (OSError, TimeoutError) as error:
                last = repr(error)
            else:
                if answer.status not in AGAIN:
                    if answer.status >= 400:
                        raise Refused(answer.status, answer.body)
                    return answer.body
                last = answer.body
            if attempt + 1 < self._attempts:
                # Spread out: those who were turned away together must not come back together.
                await asyncio.sleep(min(FIRST_WAIT * 2**attempt, MAX_WAIT) * random.uniform(0.5, 1))  # noqa: S311
        raise Away(f"no answer after {self._attempts} tries: {last}")

    async def submit(
        self,
        game: str,
        results: Mapping[str, int] | Sequence[dict[str, Any]],
        *,
        session_id: UUID | str | None = None,
        mode: str | None = None,
        played_at: datetime | None = None,
    ) -> dict[str, Any]:
        """Record a session; the same `session_id` goes with every try, so it counts once.

        Args:
            game: the game.
            results: scores by user id, or results as the API has them (with metadata).
            session_id: made here when it is not given.
            mode: the mode that was played.
            played_at: when; now by default.
        """
        if isinstance(results, Mapping):
            results = [{"user_id": user_id, "score": score} for user_id, score in results.items()]
        body: dict[str, Any] = {"session_id": str(session_id or uuid7()), "results": list(results)}
        body |= {"mode": mode} if mode is not None else {}
        body |= {"played_at": played_at.isoformat()} if played_at is not None else {}
        answer: dict[str, Any] = await self.call("POST", f"/v1/games/{quote(game)}/sessions", body)
        return answer

    async def top(
        self, game: str, leaderboard: str, *, limit: int = 10, offset: int = 0, season: str = "current"
    ) -> dict[str, Any]:
        """Return a page of the standings."""
        return await self._read(game, leaderboard, "/top", limit=limit, offset=offset, season=season)

    async def entry(
        self, game: str, leaderboard: str, user_id: str, *, season: str = "current"
    ) -> dict[str, Any]:
        """Return one user's entry."""
        return await self._read(game, leaderboard, f"/users/{quote(user_id)}", season=season)

    async def around(
        self, game: str, leaderboard: str, user_id: str, *, radius: int = 5, season: str = "current"
    ) -> dict[str, Any]:
        """Return a user's entry and those on both sides."""
        path = f"/users/{quote(user_id)}/around"
        return await self._read(game, leaderboard, path, radius=radius, season=season)

    async def lookup(self, game: str, leaderboard: str, user_ids: Sequence[str]) -> dict[str, Any]:
        """Return the entries of up to 200 users, best first."""
        path = f"{board_path(game, leaderboard)}/lookup"
        answer: dict[str, Any] = await self.call("POST", path, {"user_ids": list(user_ids)})
        return answer

    async def standings(
        self, game: str, leaderboard: str, *, season: str = "current"
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the whole standings, best first (an admin key's business).

        Raises:
            Refused: the API answered with a problem.
            OSError, TimeoutError: the server cannot be reached, or broke off: what came is not all.
        """
        path = f"{board_path(game, leaderboard)}/export?{urlencode({'season': season})}"
        try:
            async for line in self._client.lines(path):
                if line:
                    yield orjson.loads(line)
        except NotOk as error:
            raise Refused(*error.answer) from error

    async def events(
        self, game: str, leaderboard: str, *, limit: int = 10, user_id: str | None = None
    ) -> AsyncIterator[Event]:
        """Yield what happens on a leaderboard, for ever; a stream that breaks off is taken up again.

        Raises:
            Refused: the API answered with a problem.
            Away: it could not be taken up again.
        """
        query = urlencode({"limit": limit} | ({"user_id": user_id} if user_id else {}))
        path = f"{board_path(game, leaderboard)}/stream?{query}"
        failed, last = 0, ""
        while failed < self._attempts:
            seen = f"last-event-id: {last}\r\n" if last else ""
            try:
                async for event in _events(self._client.lines(path, seen)):
                    failed, last = 0, event.id or last
                    yield event
            except (NotOk, OSError, TimeoutError) as error:
                if isinstance(error, NotOk) and error.answer.status not in AGAIN:
                    raise Refused(*error.answer) from error
                failed += 1
                await asyncio.sleep(min(FIRST_WAIT * 2**failed, MAX_WAIT))
        raise Away(f"the stream of {game}/{leaderboard} cannot be had")

    async def _read(self, game: str, leaderboard: str, path: str, **query: Any) -> dict[str, Any]:
        full = f"{board_path(game, leaderboard)}{path}?{urlencode(query)}"
        answer: dict[str, Any] = await self.call("GET", full)
        return answer


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    fields: dict[bytes, bytes] = {}
    async for line in lines:
        if not line.strip():
            if b"data" in fields:
                name, event_id = fields.get(b"event", b"message").decode(), fields.get(b"id", b"").decode()
                yield Event(name, event_id, orjson.loads(fields[b"data"]))
            fields = {}
        elif not line.startswith(b":"):
            field, _, value = line.rstrip(b"\r").partition(b":")
            fields[field] = value.removeprefix(b" ")


def board_path(game: str, leaderboard: str) -> str:
    """Return the path of a leaderboard."""
    return f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}"
