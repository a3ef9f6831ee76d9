"""score_service as it is deployed: a process, a port, a socket that sends as it likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from score_service.routes import direct
from shared.direct import PLAIN
from shared.frames import MAX_BODY
from tests.processes import exchange, process

SESSIONS = "/v1/games/demo/sessions"


@asynccontextmanager
async def serving(database_url: str, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run score_service; yield a client of it, with a game called demo."""
    async with process("score", DATABASE_URL=database_url, REDIS_URL=redis_url) as (_, client):
        await client.put("/v1/games/demo", json={})
        yield client


def posted(user: str, *headers: str, path: str = SESSIONS, padding: int = 0) -> str:
    """Return a request that posts a session; `padding` spaces make its body longer."""
    body = json.dumps({"results": [{"user_id": user, "score": 1}]}) + " " * padding
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", body])


async def test_pipelined_sessions_are_answered_in_order_whichever_way_they_go(
    database_url: str, redis_url: str
) -> None:
    requests = [
        posted("ada"),
        posted("bob", path="/v1/games/%64emo/sessions"),
        posted("cyd", padding=MAX_BODY),
        posted("dan"),
        posted("eve", path="/v1/games/none/sessions"),
        posted("fay", "connection: close"),
    ]
    async with serving(database_url, redis_url) as client:
        answers = await exchange(client, ["".join(requests)])
    assert [answer[:3] for answer in answers] == ["201", "201", "201", "201", "404", "201"]
    assert ["ada" in answers[0], "bob" in answers[1], "cyd" in answers[2], "dan" in answers[3]] == [True] * 4


async def test_a_body_may_come_in_any_pieces(database_url: str, redis_url: str) -> None:
    text = posted("ada", "x-request-id: r1") + posted("bob") + posted("me", "connection: close")
    async with serving(database_url, redis_url) as client:
        answers = await exchange(client, text)
    assert [answer[:3] for answer in answers] == ["201", "201", "422"]


async def test_a_request_that_is_recognised_and_one_that_is_parsed_are_answered_the_same(
    database_url: str, redis_url: str
) -> None:
    good = posted("ada").partition("\r\n\r\n")[2]
    bodies = [good, "{", '{"results":[]}', good.replace("1", '"1"'), good.replace("ada", "me")]
    lines = "HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n{}"
    async with serving(database_url, redis_url) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        for body in bodies:
            for path in (SESSIONS, SESSIONS.replace("demo", "none"), "/nowhere"):
                answers = []
                for odd in ("", "user-agent: parse me\r\n"):
                    text = f"POST {path} " + lines.format(odd, len(body), body)
                    assert (PLAIN(text.encode()) is None) == bool(odd)
                    writer.write(text.encode())
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                    told = json.loads(await reader.readexactly(length))
                    for changing in ("session_id", "played_at", "results"):
                        told.pop(changing, None)
                    answers.append((head[9:12], told))
                assert answers[0] == answers[1]
        writer.close()


async def test_a_body_cut_short_records_nothing(database_url: str, redis_url: str) -> None:
    async with serving(database_url, redis_url) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(posted("ada").encode()[:-5])
        writer.close()
        await writer.wait_closed()
        assert (
            await client.post(SESSIONS, json={"results": [{"user_id": "bob", "score": 1}]})
        ).status_code == 201
        found = (await client.get(SESSIONS)).json()
        assert len(found["sessions"]) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"{SESSIONS}/batch",
        f"{SESSIONS}?x=1",
        "/v1/games/%64emo/sessions",
        "/v1/games/a/b/sessions",
        "/v1/games//sessions",
    ],
)
def test_any_other_url_goes_the_usual_way(url: str) -> None:
    assert direct(url.encode()) is None
