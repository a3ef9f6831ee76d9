"""Boards built from the history in the background, while everything else goes on: on real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.errors import LeaderboardError
from shared.messages import LeaderboardIn, LeaderboardOut
from shared.names import MAX_SCORE, uuid7
from shared.postgres import Pool
from tests.rank import rank_service
from tests.score import Score, score_service
from tests.support import wait_until

NO_BUILDS = "SELECT NOT EXISTS (SELECT FROM builds WHERE failure IS NULL)"
WAITING = """SELECT count(*) FROM pg_stat_activity
              WHERE wait_event_type = 'Lock' AND datname = current_database()"""
TWO_WAIT, THREE_WAIT = (WAITING.replace("count(*)", f"count(*) > {n}") for n in (1, 2))
SHOWN = """SELECT user_id, score FROM entries JOIN leaderboards USING (leaderboard_id, generation)
            WHERE leaderboard = $1 AND NOT hidden AND deleted_at IS NULL"""
AUDIT = "SELECT action, subject, key_id FROM audit_log WHERE action <> 'create_game' ORDER BY audit_id"


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    """A service that answers at once, whatever is to be built."""
    async with score_service(database_url, redis_url, build_patience_ms=0) as score:
        await score.define()
        yield score


@asynccontextmanager
async def midway(
    pool: Pool, score: Score, board: str = "late", *, at: str = "aaa", **body: Any
) -> AsyncIterator[LeaderboardOut]:
    """Define a board; within the block its builder has read the history and waits in its first chunk."""
    number = await pool.fetchval(
        """SELECT coalesce((SELECT leaderboard_id FROM leaderboards WHERE leaderboard = $1),
                           (SELECT max(leaderboard_id) + 1 FROM leaderboards))""",
        board,
    )
    generation = await pool.fetchval(
        "SELECT coalesce((SELECT last_generation FROM leaderboards WHERE leaderboard = $1), 0) + 1", board
    )
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        # One entry of the chunk is on its way in by another hand, which takes it back in the end.
        await connection.execute(
            "INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, reached_at)"
            " VALUES ($1, $2, 0, $3, 0, 0, 0)",
            *(number, generation, at),
        )
        (told,) = await score.define(**{board: body})
        await wait_until(lambda: pool.fetchval(WAITING))
        try:
            yield told
        finally:
            await transaction.rollback()
    await wait_until(lambda: pool.fetchval(NO_BUILDS))


async def entries(pool: Pool, board: str = "late") -> dict[str, int]:
    return {row[0]: row[1] for row in await pool.fetch(SHOWN, board)}


async def void(score: Score, session_id: str) -> None:
    game = await score.state["games"].get("demo")
    await score.state["moderation"].void(game, session_id, "cheated", "key-1")


async def test_a_definition_is_answered_before_its_history_is_folded(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1), ("bob", 2))
    async with midway(pool, score) as told:
        assert (told.status, told.progress) == ("building", 0)
        answer, _ = await score.post(("zoe", 5))
        assert [change.leaderboard for change in answer.results[0].entries] == ["global"]
    assert await entries(pool) == {"aaa": 1, "bob": 2, "zoe": 5}
    answer, _ = await score.post(("zoe", 5))
    assert [(c.leaderboard, c.score, c.rank) for c in answer.results[0].entries] == [
        *[("global", 10, 1), ("late", 10, 1)]
    ]


async def test_what_is_recorded_while_a_chunk_is_folded_counts_once(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1), ("bob", 2), ("cat", 3))
    async with midway(pool, score):
        await score.post(("bob", 10), ("new", 7))
        await score.post(("bob", 100))
    assert await entries(pool) == {"aaa": 1, "bob": 112, "cat": 3, "new": 7}


async def test_a_batch_adds_to_what_a_chunk_has_put_there(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1), ("bob", 2), ("zoe", 3))
    async with midway(pool, score, at="zoe"):
        post = asyncio.create_task(score.post(("bob", 10), ("dan", 10)))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
    await post
    assert await entries(pool) == {"aaa": 1, "bob": 12, "zoe": 3, "dan": 10}


async def test_a_void_waits_for_a_chunk_that_has_read_the_session(score: Score, pool: Pool) -> None:
    cheat = str(uuid7())
    await score.post(("aaa", 1), ("bob", 2))
    await score.post(("bob", 50), ("eve", 50), session_id=cheat)
    async with midway(pool, score):
        task = asyncio.create_task(void(score, cheat))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
        assert not task.done()
    await task
    assert await entries(pool) == {"aaa": 1, "bob": 2}


async def test_a_ban_and_an_erasure_hold_for_what_is_being_built(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1), ("bob", 2), ("eve", 3))
    game = await score.state["games"].get("demo")
    async with midway(pool, score):
        ban = asyncio.create_task(score.state["moderation"].ban(game, "bob", None, "key-1"))
        erase = asyncio.create_task(score.state["erasure"].erase(game, "eve", "key-1"))
        await wait_until(lambda: pool.fetchval(THREE_WAIT))
    await asyncio.gather(ban, erase)
    assert await entries(pool) == {"aaa": 1}
    await score.state["moderation"].unban(game, "bob", "key-1")
    assert await entries(pool) == {"aaa": 1, "bob": 2}


async def test_a_builder_that_dies_is_succeeded_by_another_where_it_was(
    database_url: str, redis_url: str, score: Score, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("FIRST_CHUNK", "MAX_CHUNK"):
        monkeypatch.setattr(f"score_service.building.{bound}", 3)
    await score.post(*((f"u{n:02}", n) for n in range(1, 40)))
    kill = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = 'score_service' AND datname = current_database()"""
    done: list[int] = []
    async with score_service(database_url, redis_url):
        await score.define(late={"operator": "count"})
        await wait_until(lambda: pool.fetchval("SELECT users_done > 0 FROM builds"))
        while (users := await pool.fetchval("SELECT users_done FROM builds")) is not None:
            done.append(users)
            if len(done) < 5:
                await pool.fetchval(kill)
    assert done == sorted(done), "a chunk was lost"
    assert len(done) >= 5, "it was over before anyone died"
    assert await entries(pool) == {f"u{n:02}": 1 for n in range(1, 40)}


async def test_readers_of_a_new_board_are_told_and_of_a_replaced_one_go_on(
    database_url: str, redis_url: str, score: Score, pool: Pool
) -> None:
    await score.post(("aaa", 1))
    await score.post(("aaa", 2))
    async with rank_service(database_url, redis_url) as rank:
        async with midway(pool, score):
            assert await rank.code("/leaderboards/late/top") == "leaderboard_building"
            told = await rank.get("/leaderboards/late")
            assert (told["status"], told["progress"], told["total"]) == ("building", 0.0, None)
        async with midway(pool, score, "global", operator="best", title="Best"):
            page = await rank.get("/leaderboards/global/top")
            assert page["entries"][0]["score"] == 3
            told = await rank.get("/leaderboards/global")
            assert (told["status"], told["operator"], told["next"]["operator"]) == ("building", "sum", "best")

        async def is_best() -> bool:
            told = await rank.get("/leaderboards/global")
            return (told["status"], told["operator"], told["title"]) == ("ready", "best", "Best")

        await wait_until(is_best)
        assert (await rank.get("/leaderboards/global/top"))["entries"][0]["score"] == 2


async def test_a_second_definition_takes_the_place_of_the_one_being_built(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1))
    await score.post(("aaa", 2))
    async with midway(pool, score, operator="best"):
        second = asyncio.create_task(score.define(late={"operator": "count"}))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
    (told,) = await second
    await wait_until(lambda: pool.fetchval(NO_BUILDS))
    assert told.operator == "count"
    assert await entries(pool) == {"aaa": 2}


async def test_back_to_the_present_definition_calls_a_build_off(
    database_url: str, redis_url: str, score: Score, pool: Pool
) -> None:
    await score.post(("aaa", 1))
    async with midway(pool, score, "global", operator="best"):
        back = asyncio.create_task(score.define(**{"global": {}}))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
    await back
    await wait_until(lambda: pool.fetchval(NO_BUILDS))
    assert (await score.state["games"].get("demo")).board("global").operator == "sum"
    async with score_service(database_url, redis_url):  # one that starts clears away at once
        await wait_until(lambda: pool.fetchval("SELECT count(*) = 1 FROM entries"))
    assert await entries(pool, "global") == {"aaa": 1}


async def test_the_same_definition_again_goes_on_with_the_build(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1))
    async with midway(pool, score, operator="best"):
        again = asyncio.create_task(score.define(late={"operator": "best", "title": "Best"}))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
    assert [told.title for told in await again] == ["Best"]
    row = await pool.fetchrow("SELECT title, generation FROM leaderboards WHERE leaderboard = 'late'")
    assert row is not None
    assert tuple(row) == ("Best", 1)


async def test_a_history_that_cannot_be_totalled_fails_and_the_reason_is_told(
    database_url: str, redis_url: str, score: Score, pool: Pool
) -> None:
    await score.define(**{"global": {"operator": "best"}})
    for _ in range(2):
        await score.post(("aaa", MAX_SCORE), ("bob", 1))
    await score.define(**{"late": {}, "global": {}})
    await wait_until(lambda: pool.fetchval("SELECT count(*) = 2 FROM builds WHERE cleared"))
    await score.post(("aaa", MAX_SCORE))
    async with rank_service(database_url, redis_url) as rank:
        told = await rank.get("/leaderboards")
    states = [(board["leaderboard"], board["status"], board["operator"]) for board in told["leaderboards"]]
    assert states == [("global", "ready", "best"), ("late", "failed", "sum")]
    assert all("totals past" in board["failure"] for board in told["leaderboards"])
    await wait_until(lambda: pool.fetchval("SELECT count(*) = 2 FROM entries"), timeout=15)


async def test_no_batch_is_refused_for_what_is_being_built(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1))
    await score.define(**{"global": {"operator": "best"}})
    await wait_until(lambda: pool.fetchval(NO_BUILDS))
    async with midway(pool, score, max_score=MAX_SCORE - 5):
        await score.post(("bob", MAX_SCORE))  # past its bounds: not counted there
        for _ in range(2):
            await score.post(("cat", MAX_SCORE - 5))  # past any total: it cannot be
    assert await pool.fetchval("SELECT failure_code FROM builds") == "score_total_out_of_range"
    assert (await entries(pool, "global"))["bob"] == MAX_SCORE


async def test_a_failure_seen_in_time_is_a_refusal_and_leaves_nothing(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define(**{"global": {"operator": "best"}})
        for _ in range(2):
            await score.post(("ada", MAX_SCORE))
        for board in ("late", "global"):
            with pytest.raises(LeaderboardError) as error:
                await score.define(**{board: {}})
            assert error.value.code == "score_total_out_of_range"
        assert await pool.fetchval("SELECT count(*) FROM builds") == 0
        assert await pool.fetchval("SELECT string_agg(operator, ' ') FROM leaderboards") == "best"
    acts = [row["action"] for row in await pool.fetch(AUDIT)]
    assert acts == ["redefine", "define", "refuse", "redefine", "refuse"]


async def test_a_rebuilt_board_is_what_the_history_says(score: Score, pool: Pool) -> None:
    await score.post(("aaa", 1), ("bob", 2))
    await pool.execute("UPDATE entries SET score = 99, sort_key = -99")
    game = await score.state["games"].get("demo")
    told = await score.state["definitions"].rebuild_leaderboard(game, "global", "key-1")
    assert (told.status, told.next) == ("building", LeaderboardIn())
    await wait_until(lambda: pool.fetchval(NO_BUILDS))
    assert await entries(pool, "global") == {"aaa": 1, "bob": 2}
    assert [tuple(row) for row in await pool.fetch(AUDIT)] == [("rebuild", "global", "key-1")]
    with pytest.raises(LeaderboardError, match="no leaderboard"):
        await score.state["definitions"].rebuild_leaderboard(game, "nothing")


async def test_a_board_dropped_while_it_is_built_leaves_nothing(
    database_url: str, redis_url: str, score: Score, pool: Pool
) -> None:
    await score.post(("aaa", 1))
    game = await score.state["games"].get("demo")
    async with midway(pool, score):
        drop = asyncio.create_task(score.state["definitions"].drop_leaderboard(game, "late"))
        await wait_until(lambda: pool.fetchval(TWO_WAIT))
    await drop
    async with score_service(database_url, redis_url):
        await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM discarded)"))
    assert await pool.fetchval("SELECT count(*) FROM entries WHERE leaderboard_id = 2") == 0
