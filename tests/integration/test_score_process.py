"""score_service as it is deployed: a process, a port, a socket that sends as it likes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httpx
import pytest

from deploy.embedded import free_ports
from score_service.routes import direct
from shared.direct import MAX_BODY
from tests.support import wait_until

SESSIONS = "/v1/games/demo/sessions"


@asynccontextmanager
async def process(database_url: str, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run score_service on a free port; yield a client once it is ready, with a game called demo."""
    (port,) = free_ports(1)
    environ = {**os.environ, "SCORE_PORT": str(port), "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "score_service", env=environ, stderr=asyncio.subprocess.DEVNULL
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            await wait_until(lambda: is_ready(client), timeout=20)
            await client.put("/v1/games/demo", json={})
            yield client
        finally:
            if running.returncode is None:
                running.kill()
            await running.wait()


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def exchange(client: httpx.AsyncClient, pieces: Iterable[str]) -> list[str]:
    """Send pieces over one connection that the last request closes; return the answers."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    for piece in pieces:
        writer.write(piece.encode())
        await writer.drain()
        await asyncio.sleep(0)
    answers = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answers.split("HTTP/1.1 ")[1:]


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
    async with process(database_url, redis_url) as client:
        answers = await exchange(client, ["".join(requests)])
    assert [answer[:3] for answer in answers] == ["201", "201", "201", "201", "404", "201"]
    assert ["ada" in answers[0], "bob" in answers[1], "cyd" in answers[2], "dan" in answers[3]] == [True] * 4


async def test_a_body_may_come_in_any_pieces(database_url: str, redis_url: str) -> None:
    text = posted("ada", "x-request-id: r1") + posted("bob") + posted("me", "connection: close")
    async with process(database_url, redis_url) as client:
        answers = await exchange(client, text)
    assert [answer[:3] for answer in answers] == ["201", "201", "422"]


async def test_a_body_cut_short_records_nothing(database_url: str, redis_url: str) -> None:
    async with process(database_url, redis_url) as client:
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
