"""Load: wrk where it is installed, else a client in Python (slower than the services: ratios suffer)."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import time
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from deploy.client import Client
from shared.names import uuid7

SCRIPT = Path(__file__).with_name("wrk.lua")
CLIENT = "wrk" if shutil.which("wrk") else "bundled client (Python: wrk is not installed)"
BOARD = "/v1/games/bench/leaderboards/global"


class Ask(NamedTuple):
    """What is sent: an operation of `wrk.lua`, and what it is about."""

    operation: str
    users: int
    results: int = 1
    mode: str = "one"


class Timing(msgspec.Struct, frozen=True):
    """What came of it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def run(url: str, key: str, ask: Ask, *, connections: int, seconds: float, pause_ms: float = 0) -> Timing:
    """Send requests over kept-alive connections, each as soon as the last was answered (and a pause)."""
    if CLIENT != "wrk":
        return asyncio.run(_bundled(url, key, ask, connections, seconds, pause_ms / 1000))
    arguments = [ask.operation, ask.users, ask.results, ask.mode, f"{pause_ms:.3f}", random.getrandbits(30)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command += ["-H", f"Authorization: Bearer {key}", url, "--", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Timing)


def request(ask: Ask) -> tuple[str, str, Any]:
    """Return the method, path and body of one request, as `wrk.lua` makes them."""
    user = f"u{random.randrange(ask.users)}"
    if ask.operation == "mixed":
        names = ("submit", "rank", "rank", "rank", "rank", "rank", "top", "top", "around", "around")
        ask = ask._replace(operation=random.choice(names))
    if ask.operation == "submit":
        chosen = random.sample(range(ask.users), ask.results)
        results = [{"user_id": f"u{i}", "score": random.randint(1, 100)} for i in chosen]
        session = {"session_id": str(uuid7()), "mode": ask.mode, "results": results}
        return "POST", "/v1/games/bench/sessions", session
    if ask.operation == "lookup":
        users = [f"u{random.randrange(ask.users)}" for _ in range(50)]
        return "POST", f"{BOARD}/lookup", {"user_ids": users}
    paths = {"hello": "/", "top": f"{BOARD}/top?limit=10", "rank": f"{BOARD}/users/{user}"}
    return "GET", paths.get(ask.operation, f"{BOARD}/users/{user}/around?radius=5"), None


async def _bundled(url: str, key: str, ask: Ask, connections: int, seconds: float, pause: float) -> Timing:
    times: list[float] = []
    errors = 0
    began = time.perf_counter()

    async def caller(client: Client) -> None:
        nonlocal errors
        while (start := time.perf_counter()) < began + seconds:
            answer = await client.call(*request(ask))
            times.append(time.perf_counter() - start)
            errors += answer.status >= 400
            if pause:
                await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=pause)

    parts = urlsplit(url)
    async with Client(f"http://{parts.netloc}", key, connections=connections) as client:
        await asyncio.gather(*(caller(client) for _ in range(connections)))
    cuts = quantiles(times, n=100)
    took = time.perf_counter() - began
    return Timing(len(times), took, cuts[49] * 1000, cuts[98] * 1000, errors)
