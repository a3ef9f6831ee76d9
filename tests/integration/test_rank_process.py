"""rank_service as it is deployed: a process, a port, a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from shared.postgres import Pool
from tests.processes import ends_a_stream, exchange, process
from tests.rank import put_board, put_entries

TOP = "/v1/games/demo/leaderboards/global/top"


async def test_it_serves_and_ends_in_time_with_a_stream_open(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5)])
    async with process("rank", DATABASE_URL=database_url, REDIS_URL=redis_url) as (running, client):
        assert (await client.get(TOP)).json()["entries"][0]["user_id"] == "ada"
        await ends_a_stream(running, client, TOP.replace("top", "stream"))
        assert running.returncode in (0, -signal.SIGTERM)


async def test_an_answer_is_sent_whole_however_it_is_asked_for(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [(f"u{i}", i) for i in range(100)])
    async with process("rank", DATABASE_URL=database_url, REDIS_URL=redis_url) as (_, client):
        replies = await asyncio.gather(*(client.get(f"{TOP}?limit={i}") for i in range(1, 101)))
        assert [len(reply.json()["entries"]) for reply in replies] == [*range(1, 101)]
        closing = await client.get(TOP, headers={"connection": "close"})
        assert len(closing.json()["entries"]) == 10
        lines = (await client.get(TOP.replace("top", "export"))).text.splitlines()
        assert len(lines) == 100


@pytest.mark.parametrize(
    ("name", "value"), [("RANK_PORT", "many"), ("REDIS_URL", ""), ("RANK_QUEUE", "0"), ("LOG_LEVEL", "LOUD")]
)
async def test_wrong_settings_are_told_at_once(name: str, value: str) -> None:
    environ = {**os.environ, "DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", name: value}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rank_service", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await running.communicate()
    assert running.returncode == 2
    assert name.encode() in said


async def test_pipelined_requests_are_answered_in_order_whichever_way_they_go(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5), ("bob", 3)])
    users = TOP.replace("top", "users")
    paths = [f"{users}/ada", TOP, f"{users}/%61da", "/healthz", f"{users}/bob", f"{users}/cleo", "/nowhere"]
    requests = "".join(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n" for path in paths)
    last = f"GET {users}/bob/around HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with process("rank", DATABASE_URL=database_url, REDIS_URL=redis_url) as (_, client):
        answers = await exchange(client, [requests + last])
    assert [answer[:3] for answer in answers] == ["200", "200", "200", "200", "200", "404", "404", "200"]
    assert ['"entry":{"rank":2' in answer for answer in answers] == [False] * 4 + [True, False, False, True]
    assert "entry_not_found" in answers[5]
    assert "connection: close" in answers[7]
