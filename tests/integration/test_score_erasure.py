"""Erased users: nothing is left of them, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from score_service.store import SQL
from score_service.worker import Discarded
from shared.errors import LeaderboardError
from shared.messages import ProfileIn, SessionOut
from shared.names import is_user_id, uuid7
from shared.postgres import Pool
from shared.wire import Wire
from tests.rank import Rank, rank_service
from tests.score import Score, score_service
from tests.support import wait_until

ADA = "ada.lovelace-1815"
BOARDS: dict[str, Any] = {
    "first": {"ties": "first"},
    "dense": {"operator": "best", "ties": "dense"},
    "low": {"operator": "latest", "order": "asc"},
}


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define(**BOARDS)
        yield score


@pytest.fixture
async def rank(database_url: str, redis_url: str, score: Score) -> AsyncIterator[Rank]:
    # Without the audit: it would find what was left, sooner or later.
    async with rank_service(database_url, redis_url, rank_audit_ms=3_600_000) as rank:
        yield rank


async def erase(score: Score, user_id: str = ADA) -> None:
    await score.state["erasure"].erase(await score.state["games"].get("demo"), user_id, "key-1")


async def play(score: Score, *results: tuple[str, int], **fields: Any) -> tuple[str, SessionOut]:
    session_id = str(uuid7())
    answer, _ = await score.post(*results, session_id=session_id, **fields)
    return session_id, answer


async def code(work: Any) -> str:
    with pytest.raises(LeaderboardError) as error:
        await work
    return error.value.code


async def kept(pool: Pool, redis: Redis, text: str) -> list[str]:
    """Return where Postgres (any row of any table) or Redis (any key or value) holds a text."""
    tables = await pool.fetch(
        """SELECT oid::regclass::text AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"""
    )
    found = []
    for table in tables:
        query = "SELECT count(*) FROM " + table["name"] + " AS t WHERE strpos(t::text, $1) > 0"
        if await pool.fetchval(query, text):
            found.append(table["name"])
    async for key in redis.scan_iter():
        kind = f"{await redis.type(key)!s}".strip("b'")
        value: Any
        if kind == "string":
            value = await redis.get(key)
        elif kind == "hash":
            value = await redis.hgetall(key)
        else:
            assert kind == "zset", "a kind of key that this does not search"
            value = await redis.zrange(key, 0, -1)
        if text in f"{key} {value}":
            found.append(key.decode())
    return found


async def pass_time(score: Score, pool: Pool, minutes: int) -> None:
    """Have everything about erasures happened so much longer ago, then let the worker run."""
    for table, column in (("erasures", "erased_at"), ("entries", "deleted_at")):
        await pool.execute(f"UPDATE {table} SET {column} = {column} - make_interval(mins => {minutes})")
    await score.state["erasure"].clear_away()


async def test_no_trace_is_left_within_the_hour(
    score: Score, rank: Rank, pool: Pool, redis: Redis, redis_url: str
) -> None:
    game = await score.state["games"].get("demo")
    moderation = score.state["moderation"]
    await score.define(old={})
    results = [{"user_id": ADA, "score": 9, "metadata": {"name": ADA}}]
    results.append({"user_id": "bob", "score": 5, "metadata": {"beaten_by": [ADA], "n": 1.5}})
    await score.post(results=results)
    cheat, _ = await play(score, (ADA, 7), ("bob", 2))
    await score.state["users"].put(game, ADA, ProfileIn(display_name=f"I am {ADA}"))
    await moderation.void(game, cheat, f"{ADA}: used a bot", "key-1")
    await moderation.ban(game, ADA, f"see {ADA}.", "key-1")
    await moderation.unban(game, ADA, "key-1")
    for board in (*BOARDS, "old", "global"):
        await rank.ready(board)
        await rank.get(f"/leaderboards/{board}/users/{ADA}/around")
    await score.define(old={"operator": "count"})
    await erase(score)
    assert await rank.code(f"/users/{ADA}") == "user_not_found"
    assert await rank.code(f"/leaderboards/global/users/{ADA}") == "entry_not_found"
    assert await kept(pool, redis, ADA) != []
    await pass_time(score, pool, 21)
    await pass_time(score, pool, 20)
    wire = Wire(redis_url, timeout=5)
    await Discarded(pool, wire).purge()
    await wire.close()
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    assert await kept(pool, redis, ADA) == []
    lines = await pool.fetch("SELECT action, subject, reason FROM audit_log WHERE action !~ 'define|game'")
    nobody = {line["subject"] for line in lines} - {cheat}
    assert [line["action"] for line in lines] == ["void", "ban", "unban", "erase"]
    assert len(nobody) == 1
    assert not is_user_id(*nobody)


async def test_others_rise_at_once_and_the_session_keeps_its_scores(score: Score, rank: Rank) -> None:
    session_id, _ = await play(score, (ADA, 9), ("bob", 5), ("eve", 5))
    for board in BOARDS:
        await rank.ready(board)
    await erase(score)
    for board in ("first", "dense"):
        page = await rank.get(f"/leaderboards/{board}/top")
        assert (page["source"], page["total"]) == ("index", 2)
        assert (page["entries"][0]["rank"], page["entries"][0]["user_id"]) == (1, "bob")
    record = await score.state["history"].session(await score.state["games"].get("demo"), session_id)
    assert [(r.user_id, r.score) for r in record.results][:2] == [("bob", 5), ("eve", 5)]
    assert (record.results[2].score, record.results[2].metadata) == (9, None)
    assert not is_user_id(record.results[2].user_id)


async def test_boards_made_later_and_voids_skip_what_was_erased(score: Score, pool: Pool) -> None:
    session_id, _ = await play(score, (ADA, 9), ("bob", 5))
    alone, _ = await play(score, (ADA, 3))
    await erase(score)
    await score.define(late={})
    game = await score.state["games"].get("demo")
    for each in (session_id, alone):
        record = await score.state["moderation"].void(game, each, "cheated", "key-1")
        assert record.voided_at is not None
    query = "SELECT count(*) FROM entries WHERE deleted_at IS NULL"
    assert await pool.fetchval(query) == 0
    query = "SELECT count(*) FROM entries JOIN leaderboards USING (leaderboard_id) WHERE leaderboard = 'late'"
    assert await pool.fetchval(query) == 1


async def test_an_old_session_is_still_a_replay_and_nothing_tells_whose_it_was(
    score: Score, pool: Pool
) -> None:
    at = "2026-11-01T00:00:00Z"
    session_id, _ = await play(score, (ADA, 9), ("bob", 5), mode="ranked", played_at=at)
    await erase(score)
    assert await pool.fetchval("SELECT fingerprint FROM game_sessions") == b""
    same: dict[str, Any] = {"session_id": session_id, "mode": "ranked", "played_at": at}
    for user in (ADA, "anyone"):
        answer, replayed = await score.post((user, 9), ("bob", 5), **same)
        assert replayed
        assert answer.results[0].entries == []
    for results, fields in (
        ([(ADA, 8), ("bob", 5)], {}),
        ([(ADA, 9), ("bob", 4)], {}),
        ([(ADA, 9)], {}),
        ([(ADA, 9), ("eve", 9), ("bob", 5)], {}),
        ([(ADA, 9), ("bob", 5)], {"mode": "casual"}),
        ([(ADA, 9), ("bob", 5)], {"played_at": "2026-11-01T00:00:01Z"}),
    ):
        assert await code(score.post(*results, **{**same, **fields})) == "session_conflict"


@pytest.mark.parametrize("minutes", [0, 21])
async def test_who_comes_back_is_a_new_player_whom_the_clearing_spares(
    score: Score, pool: Pool, redis: Redis, rank: Rank, minutes: int
) -> None:
    await play(score, (ADA, 9), ("bob", 5))
    await rank.ready()
    await erase(score)
    assert await code(erase(score)) == "user_not_found"
    await pass_time(score, pool, minutes)
    _, answer = await play(score, (ADA, 1))
    entry = next(each for each in answer.results[0].entries if each.leaderboard == "global")
    assert (entry.score, entry.rank, entry.previous_rank) == (1, 2, None)
    assert await pool.fetchval("SELECT count(*) FROM users WHERE user_id = $1", ADA) == 1
    await pass_time(score, pool, 50)
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 0
    found = await rank.get(f"/leaderboards/global/users/{ADA}")
    assert (found["source"], found["entry"]["score"]) == ("index", 1)
    assert await redis.hexists("{lb:1.1.0}:v", ADA)


async def test_an_erasure_waits_for_running_batches_and_strangers_are_not_found(
    score: Score, pool: Pool
) -> None:
    await play(score, (ADA, 1))
    for user in ("nobody", "~nobody", "not an id"):
        assert await code(erase(score, user)) == "user_not_found"
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["enter_gate"], [1])
        task = asyncio.create_task(erase(score))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_until(lambda: pool.fetchval(waiting))
        assert not task.done()
    await task


async def test_a_fold_of_old_months_does_not_bring_an_erased_user_back(score: Score, pool: Pool) -> None:
    await play(score, (ADA, 1))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(SQL["lock_leaderboard"], 1)
        await connection.execute(
            "INSERT INTO entry_base (leaderboard_id, generation, season, user_id, score, reached_at)"
            " VALUES (1, 1, 0, $1, 9, 0)",
            ADA,
        )
        task = asyncio.create_task(erase(score))
        waiting = """SELECT count(*) FROM pg_stat_activity
                      WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        await wait_until(lambda: pool.fetchval(waiting))
        await transaction.commit()
    await task
    assert await pool.fetchval("SELECT count(*) FROM entry_base") == 0


async def test_the_service_itself_may_neither_change_nor_delete_results(pool: Pool) -> None:
    query = "SELECT has_table_privilege('leaderboard_score', $1, $2)"
    for privilege in ("UPDATE", "DELETE"):
        assert not await pool.fetchval(query, "session_results", privilege)
        assert not await pool.fetchval(query, "audit_log", privilege)
    assert not await pool.fetchval(query, "users", "DELETE")
