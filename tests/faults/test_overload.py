"""More than can be done, and readers who do not read: load is shed, memory bounded, recovery at once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from deploy.client import Client
from shared.names import uuid7
from tests.faults.crowd import Crowd
from tests.faults.fleet import Fleet, Replica, running
from tests.faults.state import check
from tests.support import wait_until

log = logging.getLogger(__name__)

DEADLINE = 2.0
BOUNDS = {
    "REQUEST_DEADLINE_MS": str(int(DEADLINE * 1000)),
    "MAX_UPSTREAM_CONNECTIONS": "16",
    "MAX_UPSTREAM_WAITING": "16",
    "SCORE_QUEUE_SESSIONS": "16",
    "RANK_QUEUE": "16",
}
CALLERS = 10 * (16 + 16) * 2
"""Ten times what the two services and the queues before them take."""

SLACK = 3.0
"""Seconds that a caller on a crowded machine may notice an answer late."""

MAX_GROWTH = 64 * 1024 * 1024

SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "10"))
"""60 for the figures in the documents."""


class Flood:
    """Callers who ask again as soon as they are answered or refused."""

    def __init__(self, url: str, key: str, path: str) -> None:
        self._client = Client(url, key, connections=CALLERS)
        self._path = path
        self.took: dict[int, list[float]] = {}
        self.broken: Counter[str] = Counter()

    async def pour(self, seconds: float) -> None:
        """Flood the gateway for so long."""
        until = time.monotonic() + seconds
        async with self._client, asyncio.TaskGroup() as group:
            for n in range(CALLERS):
                group.create_task(self._call(n, until))

    async def _call(self, n: int, until: float) -> None:
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                if n % 2:
                    path = f"{self._path}/leaderboards/global/users/p{n // 2 % 40:02}/around"
                    answer = await self._client.call("GET", path)
                else:
                    results = [{"user_id": f"p{n // 2 % 40:02}", "score": 1}]
                    body = {"session_id": str(uuid7()), "results": results}
                    answer = await self._client.call("POST", f"{self._path}/sessions", body)
            except OSError as error:
                self.broken[repr(error)] += 1
            else:
                self.took.setdefault(answer.status, []).append(time.monotonic() - began)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ten_times_too_much_is_shed_in_time_and_forgotten_at_once(
    tmp_path: Path, database_url: str, redis_url: str, rng: random.Random
) -> None:
    fleet = Fleet(tmp_path, database_url, redis_url, None, each=1, **BOUNDS)
    async with running(*fleet.replicas), fleet.client() as api:
        crowd = Crowd(api, rng)
        await crowd.prepare()
        flood = Flood(fleet.gateways[0].url, fleet.key, crowd.path)
        await flood.pour(1)
        before = memory(fleet.replicas)
        await flood.pour(SECONDS)
        assert (await api.get(f"{crowd.path}/leaderboards/global/top")).status_code == 200
        assert (
            await api.post(f"{crowd.path}/sessions", json={"results": [{"user_id": "ada", "score": 1}]})
        ).status_code == 201
        counts = {status: len(took) for status, took in flood.took.items()}
        done = sorted(flood.took.get(200, []) + flood.took.get(201, []))
        grown = {name: after - before[name] for name, after in memory(fleet.replicas).items()}
        log.info("answers %s, p99 %.2f s, grown by %s bytes", counts, done[len(done) * 99 // 100], grown)
        assert set(counts) <= {200, 201, 404, 503, 504}, counts
        assert not flood.broken
        assert counts[503] > 100, "nothing was shed"
        assert max(done) < DEADLINE + SLACK
        assert max(grown.values()) < MAX_GROWTH, grown
        await check(fleet.values, api, crowd.path.rpartition("/")[2])


def memory(replicas: list[Replica]) -> dict[str, int]:
    return {replica.program.name: replica.memory for replica in replicas}


def stuck(gateway: Replica, key: str, path: str) -> socket.socket:
    """Ask for something long, and read nothing of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", gateway.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n".encode())
    return connection


async def fill(api: httpx.AsyncClient, path: str, users: int) -> None:
    for start in range(0, users, 1000):
        results = [{"user_id": f"u{start + n:06}", "score": start + n} for n in range(1000)]
        assert (await api.post(f"{path}/sessions", json={"results": results})).status_code == 201


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_readers_who_do_not_read_harm_nobody(tmp_path: Path, database_url: str, redis_url: str) -> None:
    fleet = Fleet(tmp_path, database_url, redis_url, each=1)
    path, board = "/v1/games/slow", "/v1/games/slow/leaderboards/global"
    async with running(*fleet.replicas), fleet.client() as api:
        assert (await api.put(path, json={})).status_code == 201
        await fill(api, path, 20_000)
        before = memory(fleet.replicas)
        streams = [
            f"{board}/stream?limit=100",
            f"{board}/stream?limit=100&user_id=u000001",
            f"{board}/export",
        ]
        readers = [stuck(fleet.gateways[0], fleet.key, each) for each in streams * 20]
        last = ""
        async with api.stream("GET", f"{board}/stream?limit=1") as healthy:
            lines = healthy.aiter_lines()
            for n in range(150):
                last = f"w{n}"
                results = [{"user_id": last, "score": 10_000_000 + n}]
                reply = await api.post(f"{path}/sessions", json={"results": results})
                assert reply.json()["results"][0]["entries"][0]["rank"] == 1
            async with asyncio.timeout(20):
                async for line in lines:
                    if f'"user_id":"{last}"' in line:
                        break
        export = await api.get(f"{board}/export")
        assert export.text.count("\n") == 20_150
        grown = {name: after - before[name] for name, after in memory(fleet.replicas).items()}
        log.info("grown by %s bytes", grown)
        assert max(grown.values()) < MAX_GROWTH, grown
        for reader in readers:
            reader.close()
        await wait_until(lambda: api.get(f"{board}/top"))
