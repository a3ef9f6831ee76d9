"""Seasons sealed exactly once: closed behind the gate, ranked for good, resumed after a crash, healed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.embedded import free_ports
from deploy.processes import Program
from score_service.sealing import Sealer
from score_service.store import SQL
from shared.index import RankingIndex
from shared.names import uuid7
from shared.postgres import Pool
from shared.wire import Wire
from tests.integration.test_score_seasons import WEEK, hour, key, told
from tests.score import Score, score_service
from tests.servers import running
from tests.support import wait_until

SEALED = """SELECT season, total, digest, previous_digests, sealed_at
              FROM seasons WHERE sealed_at IS NOT NULL ORDER BY season"""
STANDINGS = """SELECT rank, user_id, ties, better
                 FROM final_standings WHERE season = $1 AND leaderboard_id = 2 ORDER BY place"""
DUE = "UPDATE seasons SET closes_at = now() WHERE ends_at < now() AND sealed_at IS NULL"


@pytest.fixture
async def played(database_url: str, redis_url: str) -> None:
    """Four hours that have been played, none of them over for results."""
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"}, dense={"schedule": "hourly", "ties": "dense"})
        for back in range(4):
            results = [("ada", 9), ("bob", 7), ("cat", 7), ("dan", 1 + back)]
            await score.post(*results, played_at=hour(back).isoformat())


@pytest.fixture
async def sealers(pool: Pool, redis_url: str) -> AsyncIterator[list[Sealer]]:
    """Two replicas' sealers, each with a connection of its own to Redis."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            wire = Wire(redis_url, timeout=1.0)
            stack.push_async_callback(wire.close)
            index = RankingIndex(wire, idle_ms=60_000)
            index.database_identity = "tests"
            found.append(Sealer(pool, index))
        yield found


def digest_of(*lines: str) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


@pytest.mark.usefixtures("played")
async def test_two_replicas_seal_every_season_once_and_in_order(sealers: list[Sealer], pool: Pool) -> None:
    await pool.execute(DUE)
    done = await asyncio.gather(*(sealer.run() for sealer in sealers))
    done += [await sealers[0].run()]
    rows = await pool.fetch(SEALED)
    assert (sum(done), done[2], len(rows)) == (6, 0, 6)  # this hour goes on
    order = "SELECT season FROM seasons WHERE sealed_at IS NOT NULL AND leaderboard_id = 2 ORDER BY sealed_at"
    assert [row[0] for row in await pool.fetch(order)] == [key(hour(back)) for back in (3, 2, 1)]
    standings = [tuple(row) for row in await pool.fetch(STANDINGS, key(hour(1)))]
    assert standings == [(1, "ada", 1, 0), (2, "bob", 2, 1), (2, "cat", 2, 1), (4, "dan", 1, 3)]


@pytest.mark.usefixtures("played")
async def test_the_digest_is_that_of_the_standings_line_by_line(sealers: list[Sealer], pool: Pool) -> None:
    await pool.execute(DUE)
    await sealers[0].run()
    found = {row["digest"] for row in await pool.fetch(SEALED) if row["season"] == key(hour(3))}
    assert found == {
        digest_of("1,ada,9", "2,bob,7", "2,cat,7", "4,dan,4"),
        digest_of("1,ada,9", "2,bob,7", "2,cat,7", "3,dan,4"),
    }
    assert {row["total"] for row in await pool.fetch(SEALED)} == {4}


@pytest.mark.usefixtures("played")
async def test_a_season_is_closed_when_the_batches_inside_are_through(
    sealers: list[Sealer], pool: Pool
) -> None:
    await pool.execute(DUE)
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["enter_gate"], [1])
        closing = asyncio.create_task(sealers[0].run())
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_until(lambda: pool.fetchval(waiting))
        await connection.execute("UPDATE entries SET score = 8, sort_key = -8 WHERE user_id = 'bob'")
    assert await closing == 6
    row = await pool.fetchrow("SELECT * FROM final_standings WHERE leaderboard_id = 2 AND user_id = 'bob'")
    assert row is not None
    assert (row["score"], row["ties"]) == (8, 1)


@pytest.mark.usefixtures("played")
async def test_no_batch_is_earlier_than_the_closing_whatever_its_clock_says(
    sealers: list[Sealer], pool: Pool
) -> None:
    await pool.execute(DUE)
    await sealers[0].run()
    ahead = await pool.fetchval(
        "UPDATE games SET not_before = now() + interval '1 hour' RETURNING not_before"
    )
    (row,) = await pool.fetch(SQL["enter_gate"], [1])
    assert row["now"] == ahead


@pytest.mark.usefixtures("played")
async def test_a_sealing_that_is_cut_off_is_resumed(sealers: list[Sealer], pool: Pool) -> None:
    await pool.execute(DUE)
    await pool.execute("ALTER TABLE seasons ADD CONSTRAINT odd CHECK (digest IS NULL)")
    with pytest.raises(Exception, match="odd"):
        await sealers[0].run()
    assert await pool.fetchval("SELECT count(closed_at) FROM seasons") == 6
    assert await pool.fetchval("SELECT count(*) FROM final_standings") == 0
    await pool.execute("ALTER TABLE seasons DROP CONSTRAINT odd")
    assert await sealers[1].run() == 6


@pytest.mark.usefixtures("played")
async def test_a_process_killed_while_it_seals_leaves_the_season_to_the_next(
    sealers: list[Sealer], pool: Pool, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await pool.execute(DUE)
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SCORE_PORT": str(free_ports(1)[0])}
    command = (sys.executable, "-m", "score_service")
    program = Program("score_service", command, tmp_path / "log", environ={**os.environ, **stores})
    blocked = "SELECT count(*) FROM pg_locks WHERE relation = 'final_standings'::regclass AND NOT granted"
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE final_standings IN EXCLUSIVE MODE")
        with running(program) as process:
            await wait_until(lambda: pool.fetchval(blocked), timeout=20)
            process.kill()
            process.wait()
    assert await pool.fetchval("SELECT count(closed_at) FROM seasons") == 6

    async def is_done() -> bool:
        await sealers[0].run()
        return len(await pool.fetch(SEALED)) == 6

    await wait_until(is_done)
    assert await pool.fetchval("SELECT count(*) FROM final_standings") == 24
    assert {len(row["digest"]) for row in await pool.fetch(SEALED)} == {64}


@pytest.mark.usefixtures("played")
async def test_what_comes_after_the_closing_does_not_rank(
    database_url: str, redis_url: str, pool: Pool, redis: Redis
) -> None:
    await pool.execute(DUE)
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await wait_until(
            lambda: pool.fetchval("SELECT count(*) = 6 FROM seasons WHERE sealed_at IS NOT NULL")
        )
        keys = f"{{lb:2.1.{key(hour(1))}}}:*"
        await wait_until(lambda: no_keys(redis, keys))
        answer, _ = await score.post(("ada", 50), played_at=hour(1).isoformat())
        now, _ = await score.post(("ada", 50), played_at=hour().isoformat())
        assert (told(answer)[3], told(now)[1]) == ("season_closed", 59)
    assert await pool.fetchval("SELECT max(score) FROM final_standings") == 9


async def no_keys(redis: Redis, pattern: str) -> bool:
    return not [key async for key in redis.scan_iter(pattern)]


async def test_a_void_in_a_sealed_season_seals_it_anew_and_keeps_the_old_digest(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    cheat, sealed = str(uuid7()), "SELECT count(*) FROM seasons WHERE sealed_at IS NOT NULL"
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", 9), ("bob", 5), played_at=hour(2).isoformat())
        await score.post(("eve", 99), played_at=hour(2).isoformat(), session_id=cheat)
        await pool.execute(DUE)
        await wait_until(lambda: pool.fetchval(sealed))
        (before,) = await pool.fetch(SEALED)
        await void(score, cheat)
        await wait_until(lambda: pool.fetchval(sealed))
    (after,) = await pool.fetch(SEALED)
    assert (before["total"], before["digest"]) == (3, digest_of("1,eve,99", "2,ada,9", "3,bob,5"))
    assert (after["total"], after["digest"]) == (2, digest_of("1,ada,9", "2,bob,5"))
    assert before["digest"] in after["previous_digests"]
    assert [tuple(row)[:2] for row in await pool.fetch(STANDINGS, key(hour(2)))] == [(1, "ada"), (2, "bob")]


@pytest.mark.usefixtures("played")
async def test_an_erased_user_leaves_sealed_standings_at_once_and_they_are_sealed_anew(
    database_url: str, redis_url: str, sealers: list[Sealer], pool: Pool
) -> None:
    await pool.execute(DUE)
    await sealers[0].run()
    async with score_service(database_url, redis_url) as score:
        game = await score.state["games"].get("demo")
        await score.state["erasure"].erase(game, "bob", "key-1")
        assert await pool.fetchval("SELECT count(*) FROM final_standings WHERE user_id = 'bob'") == 0
        await wait_until(
            lambda: pool.fetchval("SELECT count(*) = 6 FROM seasons WHERE sealed_at IS NOT NULL")
        )
    assert [tuple(row)[:2] for row in await pool.fetch(STANDINGS, key(hour(3)))] == [
        *[(1, "ada"), (2, "cat"), (3, "dan")]
    ]
    assert all("sealed_at" in row["previous_digests"] for row in await pool.fetch(SEALED))


async def void(score: Score, session_id: str) -> None:
    game: Any = await score.state["games"].get("demo")
    await score.state["moderation"].void(game, session_id, "cheated", "key-1")


@pytest.mark.usefixtures("played")
async def test_a_redefined_board_seals_its_seasons_anew_and_a_dropped_one_leaves_nothing(
    database_url: str, redis_url: str, sealers: list[Sealer], pool: Pool
) -> None:
    await pool.execute(DUE)
    await sealers[0].run()
    async with score_service(database_url, redis_url, season_grace_seconds=0) as score:
        await score.define(hours={"schedule": "hourly", "ties": "first"})
        again = "SELECT count(*) = 3 FROM seasons WHERE generation = 2 AND sealed_at IS NOT NULL"
        await wait_until(lambda: pool.fetchval(again))
        game = await score.state["games"].get("demo")
        await score.state["definitions"].drop_leaderboard(game, "dense")
    left = "SELECT count(*) = 3 * 4 FROM final_standings"
    async with score_service(database_url, redis_url):
        await wait_until(lambda: pool.fetchval(left))
