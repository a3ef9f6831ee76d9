"""How long a board takes to be built from a long history, while results keep arriving.

`python -m tests.benchmarks.building [RESULTS] [USERS] [PER_SECOND]` starts everything, fills the history by
COPY, defines a board through the API while sessions are submitted, prints how long it took, and proves that
the board holds every result once.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import psycopg
import uvloop
from rich.console import Console

from shared.names import uuid7
from tests.benchmarks.seed import GAME, Size, copy
from tests.stack import Stack, running_stack
from tests.support import wait_until

console = Console()
DEFINITIONS: dict[str, dict[str, Any]] = {
    "sums": {"max_score": 1_000_000},
    "bests": {"operator": "best", "ties": "first", "modes": ["three"]},
    "weeks": {"schedule": "weekly", "operator": "count"},
}
SCORES = """SELECT sum(e.score)
              FROM entries e JOIN leaderboards l USING (leaderboard_id, generation)
             WHERE l.leaderboard = %s AND e.deleted_at IS NULL"""
TRUTH = "SELECT sum(score) FROM session_results"


async def submit(api: httpx.AsyncClient, per_second: int, size: Size, over: asyncio.Event) -> list[float]:
    """Submit sessions of five at a steady pace; return how long each took."""
    rng = random.Random(2)
    took: list[float] = []

    async def one() -> None:
        users = rng.sample(range(size.users), 5)
        results = [{"user_id": f"u{user}", "score": rng.randrange(10_000)} for user in users]
        began = perf_counter()
        body = {"session_id": str(uuid7()), "mode": "three", "results": results}
        reply = await api.post(f"{GAME}/sessions", json=body)
        assert reply.status_code == 201, reply.text
        took.append(perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        while not over.is_set():
            group.create_task(one())
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 1 / per_second)
    return took


async def build(api: httpx.AsyncClient, name: str, body: dict[str, Any]) -> tuple[float, float]:
    """Define a board; return how long that call and the build took."""
    began = perf_counter()
    reply = await api.put(f"{GAME}/leaderboards/{name}", json=body)
    assert reply.status_code in (200, 201), reply.text
    answered = perf_counter() - began

    async def is_over() -> bool:
        told = (await api.get(f"{GAME}/leaderboards/{name}")).json()
        return bool(told["status"] != "building")

    await wait_until(is_over, timeout=600)
    return answered, perf_counter() - began


async def measure(stack: Stack, size: Size, per_second: int) -> None:
    """Build each board once, one after the other."""
    async with stack.client(timeout=120) as api:
        for name, body in DEFINITIONS.items():
            over = asyncio.Event()
            submitting = asyncio.create_task(submit(api, per_second, size, over))
            answered, took = await build(api, name, body)
            over.set()
            waits = sorted(await submitting)
            half, most = (waits[len(waits) * part // 100] * 1000 for part in (50, 99))
            console.print(
                f"{name}: {size.results:,} results of {size.users:,} users in {took:.1f} s, the answer after"
                f" {answered:.1f} s; {len(waits)} sessions meanwhile, half in {half:.0f} ms,"
                f" 99 % in {most:.0f} ms, all in {waits[-1] * 1000:.0f} ms"
            )
    with psycopg.connect(stack.values["DATABASE_URL"]) as db:
        told, truth = db.execute(SCORES, ("sums",)).fetchone(), db.execute(TRUTH).fetchone()
        assert told == truth, (told, truth)
        console.print("sums holds every result once")


def main() -> None:
    """Measure."""
    given = [int(each) for each in sys.argv[1:]]
    results, users, per_second = [*given, *(5_000_000, 500_000, 100)[len(given) :]]
    size = Size(users, results)
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        with psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db:
            headers = {"authorization": f"Bearer {stack.values['ADMIN_KEY']}"}
            httpx.put(f"{stack.url}{GAME}", json={}, headers=headers).raise_for_status()
            row = db.execute("SELECT game_id FROM games WHERE game = 'bench'").fetchone()
            assert row is not None
            copy(db, int(row[0]), size)
            db.execute("VACUUM ANALYZE")
            db.execute("CHECKPOINT")
        uvloop.run(measure(stack, size, per_second))


if __name__ == "__main__":
    main()
