"""A board built from a long history under load, its builder killed midway: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from shared.names import uuid7
from tests.benchmarks.seed import Size, copy
from tests.stack import Stack, running_stack
from tests.support import wait_until

SIZE = Size(users=60_000, results=240_000)
PATH = "/v1/games/long"
WRONG = """
SELECT count(*)
  FROM (SELECT user_id, sum(score) AS score FROM session_results GROUP BY user_id) AS truth
  FULL JOIN (SELECT user_id, score FROM entries JOIN leaderboards USING (leaderboard_id, generation)
              WHERE leaderboard = 'late' AND deleted_at IS NULL) AS told USING (user_id)
 WHERE truth.score IS DISTINCT FROM told.score"""

GATES = (20, 50)
"""Percent of the users after which the chunk that passes them is held, folded but not committed."""
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.user_id < 'u2' AND NEW.user_id >= 'u2' THEN PERFORM pg_advisory_xact_lock_shared(20); END IF;
    IF OLD.user_id < 'u5' AND NEW.user_id >= 'u5' THEN PERFORM pg_advisory_xact_lock_shared(50); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE OF user_id ON builds FOR EACH ROW EXECUTE FUNCTION hold()"""
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("long")) as stack:
        yield stack


async def play(api: httpx.AsyncClient, rng: random.Random, over: asyncio.Event) -> int:
    """Record sessions, each sent until it is answered; return how many."""
    recorded = 0
    while not over.is_set():
        users = rng.sample(range(SIZE.users), 5)
        results = [{"user_id": f"u{user}", "score": 1} for user in users] + [{"user_id": "one", "score": 1}]
        body = {"session_id": str(uuid7()), "results": results}
        status = 0
        while status not in (200, 201):
            try:
                status = (await api.post(f"{PATH}/sessions", json=body)).status_code
            except httpx.TransportError:
                status = 0
        recorded += 1
    return recorded


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_builder_killed_in_the_middle_under_load_loses_and_doubles_nothing(
    stack: Stack, rng: random.Random
) -> None:
    connection = await asyncpg.connect(stack.values["DATABASE_URL"])
    async with stack.client(timeout=20) as api:
        assert (await api.put(PATH, json={})).status_code == 201
        with psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db:
            row = db.execute("SELECT game_id FROM games WHERE game = 'long'").fetchone()
            assert row is not None
            copy(db, row[0], SIZE)
            db.execute("ANALYZE")
        await connection.execute(HOLD)
        for gate in GATES:
            await connection.execute("SELECT pg_advisory_lock($1)", gate)
        over = asyncio.Event()
        playing = [asyncio.create_task(play(api, rng, over)) for _ in range(4)]
        putting = asyncio.create_task(api.put(f"{PATH}/leaderboards/late", json={}))

        async def status() -> Any:
            reply = await api.get(f"{PATH}/leaderboards/late")
            return reply.json()["status"] if reply.status_code == 200 else reply.status_code

        for gate in GATES:
            await wait_until(lambda gate=gate: connection.fetchval(HELD, gate), timeout=60)  # type: ignore[misc]
            assert await status() == "building"
            pid = stack.pid("SCORE")
            os.kill(pid, signal.SIGKILL)
            await wait_until(lambda pid=pid: stack.pid("SCORE") != pid, timeout=15)  # type: ignore[misc]
            await connection.execute("SELECT pg_advisory_unlock($1)", gate)

        async def is_ready() -> bool:
            return bool(await status() == "ready")

        await wait_until(is_ready, timeout=120)
        assert (await putting).status_code >= 500, "its answer was killed"
        over.set()
        recorded = sum(await asyncio.gather(*playing))
    assert await connection.fetchval(WRONG) == 0
    assert recorded
    one = (
        "SELECT score FROM entries JOIN leaderboards USING (leaderboard_id, generation) WHERE user_id = 'one'"
    )
    assert await connection.fetchval(f"{one} AND leaderboard = 'late'") == recorded
    await connection.close()
