"""A request that a service recognises is answered as one that uvicorn parses and Starlette routes.

Each goes to the real routes three times: whole, so that it is recognised; a byte at a time, so that it is
parsed; and with a header of its hop, which leaves it to uvicorn.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

import orjson
import pytest
from starlette.routing import Router

from rank_service.routes import direct as rank_direct
from rank_service.routes import routes as rank_routes
from score_service.routes import direct as score_direct
from score_service.routes import routes as score_routes
from shared import http
from shared.names import uuid7
from shared.postgres import Pool
from tests.integration.test_shortcuts import Sink
from tests.rank import put_board, put_entries, rank_service
from tests.score import score_service

SCORES = [("ada", 50), ("bob", 50), ("cleo", 40), ("dan", 30), ("eve", 20)]
ROUNDS = 150
TURNS = 200_000
VARYING = re.compile(rb"\"(?:as_of|recorded_at)\":\"[^\"]+\"|gam[123]|ahead of now, [^\"]+")

Answer = tuple[bytes, list[bytes], bytes]


class Server:
    """A service's protocol on its real routes, fed in exactly the pieces that are wanted."""

    def __init__(self, routes: Any, method: bytes, direct: Any, state: Any) -> None:
        app: Any = Router(routes)
        app.direct = {method: direct}
        self._config = http.configured(app, host="127.0.0.1", port=1, drain_seconds=1)
        self._config.load()
        self._state = dict(state)

    async def answer(self, pieces: list[bytes]) -> Answer:
        """Return the answer to one request, on a connection of its own: status line, headers, body."""
        protocol = http.Protocol(config=self._config, server_state=http.State(), app_state=self._state)
        sink = Sink()
        protocol.connection_made(sink)
        for piece in pieces:
            protocol.data_received(piece)
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if (answer := whole_answer(sink.written)) is not None:
                break
        else:
            pytest.fail("a request was not answered")
        protocol.connection_lost(None)
        return answer

    async def answers(self, requests: list[bytes]) -> list[Answer]:
        """Return the answers to one request (or three alike), in the three ways."""
        plain, parsed, left = requests
        cut = [parsed[i : i + 1] for i in range(len(parsed))]
        hop = left.replace(b"\r\n", b"\r\nconnection: keep-alive\r\n", 1)
        return [await self.answer(pieces) for pieces in ([plain], cut, [hop])]


def whole_answer(written: bytes) -> Answer | None:
    head, end, body = written.partition(b"\r\n\r\n")
    status, *headers = head.lower().split(b"\r\n")
    length = sum(int(line[15:]) for line in headers if line.startswith(b"content-length:"))
    if not end or len(body) < length:
        return None
    return status, sorted(headers), VARYING.sub(b"", body)


def headers(rng: random.Random) -> bytes:
    """Some header lines as our gateway writes them, and some as nobody does."""
    lines = [
        b"host: rank:8082",
        b"x-scope: read",
        b"x-request-id: 0123456789",
        b"x-request-id: \t twice ",
        b"x-deadline-ms: 5000",
        b"x-deadline-ms: soon",
        b"accept: */*",
        b'if-none-match: "a", W/"b"',
        b"if-none-match: *",
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00",
        b"cookie: a=b",
    ]
    return b"".join(line + b"\r\n" for line in rng.sample(lines, rng.randint(1, 6)))


async def test_reads_are_answered_alike_in_every_way(
    pool: Pool, database_url: str, redis_url: str, rng: random.Random
) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    await put_entries(pool, await put_board(pool, "low", order="asc", ties="first"), SCORES)
    ends = [
        "top",
        "top?limit=2&offset=1",
        "top?limit=0",
        "top?limit=2&limit=3",
        "top?season=previous",
        "top?",
        "nix",
    ]
    ends += [
        f"users/{user}{end}"
        for user in ("ada", "dan", "zoe", "a~b")
        for end in ("", "/around", "/around?radius=1")
    ]
    ends += [
        "users/ada?season=all",
        "users/ada?x=1",
        "users/",
        "users/ada/around?radius=%31",
        "users/ada/history",
    ]
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        await rank.ready("low")
        server = Server(rank_routes(), b"GET", rank_direct, rank.state)
        for _ in range(ROUNDS):
            path = f"/v1/games/demo/leaderboards/{rng.choice(['global', 'low', 'none'])}/{rng.choice(ends)}"
            request = b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), headers(rng))
            plain, parsed, left = await server.answers([request] * 3)
            assert plain == parsed == left, request


async def test_sessions_are_recorded_alike_in_every_way(
    database_url: str, redis_url: str, rng: random.Random
) -> None:
    games = ("gam1", "gam2", "gam3")
    ids = [str(uuid7()) for _ in range(20)]
    results: list[Any] = [[], [{"user_id": "ada"}], [{"user_id": "me", "score": 1}], "none"]
    results += [[{"user_id": user, "score": score}] for user in ("ada", "bob") for score in (0, 5, -1, 1.5)]
    results.append(
        [{"user_id": "ada", "score": 2}, {"user_id": "bob", "score": 3, "metadata": {"a": [1, "é"]}}]
    )
    async with score_service(database_url, redis_url) as score:
        for game in games:
            await score.define(game)
        server = Server(score_routes(), b"POST", score_direct, score.state)
        for _ in range(ROUNDS):
            body: Any = {"session_id": rng.choice(ids), "results": rng.choice(results)}
            body["played_at"] = rng.choice(
                ["2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "1999-01-01T00:00:00Z"]
            )
            sent = rng.choice([orjson.dumps(body), orjson.dumps(body), b"{", b"[1]"])
            kind = rng.choice([b"application/json"] * 4 + [b"application/json; charset=utf-8", b"text/plain"])
            lines = headers(rng) + b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(sent))
            names = rng.choice([games, games, games, ("non1", "non1", "non1")])
            plain, parsed, left = await server.answers(
                [
                    b"POST /v1/games/%b/sessions HTTP/1.1\r\n%b" % (name.encode(), lines + sent)
                    for name in names
                ]
            )
            assert plain == parsed == left, lines + sent
