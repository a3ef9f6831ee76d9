"""Void and ban: boards heal, ranks follow, the record and the audit stay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from score_service.store import SQL
from shared.errors import LeaderboardError
from shared.messages import SessionOut
from shared.names import MAX_SCORE, microseconds, uuid7
from shared.postgres import Pool
from tests.model import Board, Game, Session
from tests.score import Score, score_service
from tests.support import wait_until

BOARDS: dict[str, Any] = {
    "global": {"ties": "first"},
    "best": {"operator": "best", "ties": "first", "modes": ["ranked"]},
    "low": {"operator": "best", "order": "asc"},
    "last": {"operator": "latest", "ties": "dense"},
    "plays": {"operator": "count", "ties": "first"},
}
SHOWN = """SELECT leaderboard, user_id, score
             FROM entries JOIN leaderboards USING (leaderboard_id, generation)
            WHERE NOT hidden AND deleted_at IS NULL ORDER BY 1, 2"""
AUDIT = "SELECT key_id, action, subject, reason FROM audit_log WHERE action ~ 'void|ban' ORDER BY audit_id"


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define(**BOARDS)
        yield score


async def void(score: Score, session_id: str) -> None:
    game = await score.state["games"].get("demo")
    await score.state["moderation"].void(game, session_id, "cheated", "key-1")


async def ban(score: Score, user: str, *, lift: bool = False) -> None:
    game = await score.state["games"].get("demo")
    if lift:
        await score.state["moderation"].unban(game, user, "key-1")
    else:
        await score.state["moderation"].ban(game, user, "bot", "key-1")


def rank(answer: SessionOut, board: str = "global") -> int | None:
    (entry,) = [entry for entry in answer.results[0].entries if entry.leaderboard == board]
    assert entry.rank is None or isinstance(entry.rank, int)
    return entry.rank


async def test_a_void_takes_a_session_out_of_every_board_and_again_is_a_no_op(
    score: Score, pool: Pool
) -> None:
    cheat = str(uuid7())
    await score.post(("ada", 5), ("bob", 9), mode="ranked")
    await score.post(("ada", 100), ("eve", 1), mode="ranked", session_id=cheat)
    await void(score, cheat)
    await void(score, cheat)
    rows = [tuple(row) for row in await pool.fetch(SHOWN)]
    assert rows == [
        *[("best", "ada", 5), ("best", "bob", 9), ("global", "ada", 5), ("global", "bob", 9)],
        *[("last", "ada", 5), ("last", "bob", 9), ("low", "ada", 5), ("low", "bob", 9)],
        *[("plays", "ada", 1), ("plays", "bob", 1)],
    ]
    assert [tuple(row) for row in await pool.fetch(AUDIT)] == [("key-1", "void", cheat, "cheated")]
    record = await score.state["history"].session(await score.state["games"].get("demo"), cheat)
    assert record.voided_at is not None
    again, replayed = await score.post(("ada", 100), ("eve", 1), mode="ranked", session_id=cheat)
    assert (replayed, again.voided, again.results[0].entries) == (True, True, [])
    ada, _ = await score.post(("ada", 1), mode="ranked")
    assert rank(ada) == 2
    eve, _ = await score.post(("eve", 50), mode="ranked")
    assert rank(eve) == 1


async def test_what_is_not_recorded_cannot_be_voided(score: Score) -> None:
    with pytest.raises(LeaderboardError) as error:
        await void(score, str(uuid7()))
    assert error.value.code == "session_not_found"


async def test_a_void_that_would_leave_the_range_is_refused_and_changes_nothing(
    score: Score, pool: Pool
) -> None:
    for name in ("global", "low", "last", "plays"):
        await score.define(**{name: {"operator": BOARDS[name].get("operator", "sum"), "min_score": -10}})
    await score.post(("ada", MAX_SCORE))
    minus = str(uuid7())
    await score.post(("ada", -10), session_id=minus, mode="casual")
    await score.post(("ada", 10))
    with pytest.raises(LeaderboardError) as error:
        await void(score, minus)
    assert error.value.code == "score_total_out_of_range"
    assert await pool.fetchval("SELECT count(*) FROM game_sessions WHERE voided_at IS NOT NULL") == 0


async def test_a_banned_user_is_hidden_everywhere_and_counts_on_unseen(score: Score, pool: Pool) -> None:
    await score.post(("ada", 5), ("bot", 50), mode="ranked")
    await ban(score, "bot")
    ada, _ = await score.post(("ada", 1), mode="ranked")
    assert rank(ada) == 1
    bot, _ = await score.post(("bot", 7), mode="ranked")
    assert [(entry.rank, entry.previous_rank, entry.ties) for entry in bot.results[0].entries] == [
        (None,) * 3
    ] * 5
    await score.define(fresh={})
    assert {row["user_id"] for row in await pool.fetch(SHOWN)} == {"ada"}
    await ban(score, "bot", lift=True)
    assert ("global", "bot", 57) in [tuple(row) for row in await pool.fetch(SHOWN)]
    assert ("fresh", "bot", 57) in [tuple(row) for row in await pool.fetch(SHOWN)]
    bot, _ = await score.post(("bot", 1), mode="ranked")
    assert rank(bot) == 1
    assert [row["action"] for row in await pool.fetch(AUDIT)] == ["ban", "unban"]


async def test_a_banned_user_without_entries_stays_hidden_on_the_first_result(
    score: Score, pool: Pool
) -> None:
    await score.post(("bot", 1), mode="casual")
    await ban(score, "bot")
    await score.post(("bot", 5), mode="ranked")
    assert await pool.fetch(SHOWN) == []
    with pytest.raises(LeaderboardError, match="no user"):
        await ban(score, "nobody")


async def test_a_ban_waits_for_running_batches(score: Score, pool: Pool) -> None:
    await score.post(("bot", 1))
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["enter_gate"], [1])
        task = asyncio.create_task(ban(score, "bot"))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_until(lambda: pool.fetchval(waiting))
        assert not task.done()
    await task


async def test_a_void_that_waited_for_a_batch_does_not_lose_its_results(score: Score, pool: Pool) -> None:
    """Lock, then fold in a new statement: a fold in the locking statement would read the old rows."""
    cheat = str(uuid7())
    await score.post(("ada", 100), session_id=cheat)
    await score.post(("ada", 5))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "UPDATE entries SET score = score + 7 WHERE user_id = 'ada' AND leaderboard_id = 1"
        )
        await connection.execute(
            """WITH s AS (INSERT INTO game_sessions (game_id, period, session_id, fingerprint, played_at)
                          VALUES (1, '1970-01-01', gen_random_uuid(), '', now()) RETURNING *)
               INSERT INTO session_results SELECT 1, period, session_id, 'ada', 7, played_at FROM s"""
        )
        task = asyncio.create_task(void(score, cheat))
        waiting = """SELECT count(*) FROM pg_stat_activity
                      WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        await wait_until(lambda: pool.fetchval(waiting))
        await transaction.commit()
    await task
    assert await pool.fetchval("SELECT score FROM entries WHERE leaderboard_id = 1") == 12


async def test_a_void_asked_for_by_many_at_once_is_one(
    score: Score, pool: Pool, database_url: str, redis_url: str
) -> None:
    cheat = str(uuid7())
    await score.post(("ada", 5))
    await score.post(("ada", 100), session_id=cheat)
    async with score_service(database_url, redis_url) as other:
        await asyncio.gather(*(void(replica, cheat) for replica in (score, other) * 4))
    assert len(await pool.fetch(AUDIT)) == 1
    assert await pool.fetchval("SELECT score FROM entries WHERE leaderboard_id = 1") == 5


async def test_who_plays_while_the_last_session_is_made_void_has_the_newer_version(
    score: Score, pool: Pool, redis: Redis
) -> None:
    """A row deleted and made again would have the number its insert drew before it waited: an older one."""
    cheat = str(uuid7())
    await score.post(("ada", 100), session_id=cheat)
    waiting = """SELECT count(*) = $1 FROM pg_stat_activity
                  WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        # A void that has its locks waits before it folds.
        await connection.execute("LOCK TABLE entry_base IN ACCESS EXCLUSIVE MODE")
        voiding = asyncio.create_task(void(score, cheat))
        await wait_until(lambda: pool.fetchval(waiting, 1))
        playing = asyncio.create_task(score.post(("ada", 5), mode="casual"))
        await wait_until(lambda: pool.fetchval(waiting, 2))
        await transaction.commit()
    await asyncio.gather(voiding, playing)
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    boards = (await score.state["games"].get("demo")).boards.values()
    assert [await redis.zcard(board.ranking(0).keys[1]) for board in boards] == [0, 1, 1, 1, 1]


async def test_random_play_voids_and_bans_leave_what_the_model_says(
    score: Score, pool: Pool, rng: random.Random
) -> None:
    model = Game(
        {
            name: Board(
                body.get("operator", "sum"),
                body.get("order", "desc"),
                body.get("ties", "competition"),
                frozenset(body["modes"]) if "modes" in body else None,
            )
            for name, body in BOARDS.items()
        }
    )

    async def play() -> None:
        session_id, mode = uuid7(), rng.choice(["ranked", "casual"])
        results = {f"u{n}": rng.randrange(6) for n in rng.sample(range(10), 3)}
        at = f"2026-11-01T00:00:0{rng.randrange(10)}Z"
        answer, _ = await score.post(*results.items(), session_id=str(session_id), mode=mode, played_at=at)
        model.sessions[session_id] = Session(session_id, results, microseconds(answer.played_at), mode)

    async def take_back() -> None:
        session_id: UUID = rng.choice(sorted(set(model.sessions)))
        await void(score, str(session_id))
        model.voided.add(session_id)

    async def punish() -> None:
        user = rng.choice(sorted({user for each in model.sessions.values() for user in each.scores}))
        await ban(score, user, lift=user in model.banned)
        model.banned ^= {user}

    for _ in range(8):
        await asyncio.gather(*(play() for _ in range(10)))
        await asyncio.gather(take_back(), take_back(), play(), play())
        await punish()
    expected = {(name, line.user_id, line.score) for name in model.boards for line in model.standings(name)}
    assert {tuple(row) for row in await pool.fetch(SHOWN)} == expected


async def test_tombstones_are_purged_an_hour_later(score: Score, pool: Pool) -> None:
    session_id = str(uuid7())
    await score.post(("ada", 1), session_id=session_id)
    await void(score, session_id)
    assert await pool.execute(SQL["purge_tombstones"], 100) == "DELETE 0"
    await pool.execute("UPDATE entries SET deleted_at = now() - interval '61 minutes'")
    assert await pool.execute(SQL["purge_tombstones"], 100) == "DELETE 4"
