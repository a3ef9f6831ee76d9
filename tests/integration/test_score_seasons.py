"""Seasons as results come in: which one a result counts in, what comes too late, what history gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import LeaderboardError
from shared.messages import SessionOut
from shared.names import MAX_SCORE, season_id, uuid7
from shared.postgres import Pool
from tests.score import score_service

ENTRIES = """SELECT season, user_id, score
               FROM entries JOIN leaderboards USING (leaderboard_id, generation)
              WHERE leaderboard = $1 AND deleted_at IS NULL ORDER BY 1, 2"""
SEASONS = """SELECT season, ends_at, closes_at
               FROM seasons JOIN leaderboards USING (leaderboard_id, generation)
              WHERE leaderboard = $1 ORDER BY 1"""
HOUR = timedelta(hours=1)
WEEK = 7 * 86_400


def hour(back: int = 0) -> datetime:
    """The start of this hour, or of one before."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - back * HOUR


def key(moment: datetime) -> int:
    return int(moment.timestamp())


def told(answer: SessionOut, board: str = "hours") -> tuple[Any, ...]:
    (change,) = [change for change in answer.results[0].entries if change.leaderboard == board]
    return change.season, change.score, change.rank, change.reason


async def entries(pool: Pool, board: str = "hours") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch(ENTRIES, board)]


async def test_a_result_counts_in_the_season_it_was_played_in(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        for back, points in ((0, 5), (1, 7), (0, 6), (30, 1)):
            answer, _ = await score.post(("ada", points), played_at=hour(back).isoformat())
            assert told(answer)[0] == season_id(key(hour(back)))
    expected = [(key(hour(30)), "ada", 1), (key(hour(1)), "ada", 7), (key(hour()), "ada", 11)]
    assert await entries(pool) == expected
    assert await entries(pool, "global") == [(0, "ada", 19)]
    (first, *rest) = await pool.fetch(SEASONS, "hours")
    assert tuple(first) == (key(hour(30)), hour(29), hour(29) + timedelta(seconds=WEEK))
    assert len(rest) == 2


async def test_each_season_has_ranks_of_its_own(database_url: str, redis_url: str) -> None:
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("bob", 50), played_at=hour(1).isoformat())
        ada, _ = await score.post(("ada", 5), played_at=hour().isoformat())
        assert told(ada) == (season_id(key(hour())), 5, 1, told(ada)[3])
        late, _ = await score.post(("ada", 5), played_at=hour(1).isoformat())
        assert told(late)[1:3] == (5, 2)


async def test_a_result_after_the_grace_is_recorded_and_does_not_rank(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    late: dict[str, Any] = {"session_id": str(uuid7()), "played_at": hour(3).isoformat()}
    async with score_service(database_url, redis_url) as score:
        await score.define(hours={"schedule": "hourly"})
        answer, replayed = await score.post(("ada", 5), **late)
        again, replayed_again = await score.post(("ada", 5), **late)
    for each in (answer, again):
        (closed,) = [change for change in each.results[0].entries if change.leaderboard == "hours"]
        assert (closed.season, closed.reason) == (None, "season_closed")
        assert [change.score for change in each.results[0].entries if change.season == "all"] == [5]
    assert (replayed, replayed_again) == (False, True)
    assert await entries(pool) == [] == await pool.fetch(SEASONS, "hours")
    assert await pool.fetchval("SELECT count(*) FROM session_results") == 1


async def test_late_results_count_for_ten_minutes_unless_a_setting_says_otherwise(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", 5))
    (season,) = await pool.fetch(SEASONS, "hours")
    assert season["closes_at"] - season["ends_at"] == timedelta(minutes=10)


async def test_the_grace_a_season_began_with_stays_whatever_the_setting(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    played_at = hour(3).isoformat()
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", 5), played_at=played_at)
    async with score_service(database_url, redis_url, season_grace_seconds=0) as score:
        answer, _ = await score.post(("ada", 1), played_at=played_at)
        other, _ = await score.post(("ada", 1), played_at=hour(4).isoformat())
    assert (told(answer)[1], told(other)[3]) == (6, "season_closed")
    assert await entries(pool) == [(key(hour(3)), "ada", 6)]


async def test_a_batch_that_is_rolled_back_leaves_a_season_that_the_next_one_uses(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define(hours={"schedule": "hourly"})
        await pool.execute("ALTER TABLE session_results ADD CONSTRAINT odd CHECK (score <> 13)")
        with pytest.raises(Exception, match="odd"):
            await score.post(("ada", 13))
        await score.post(("ada", 5), played_at=hour().isoformat())
    assert [row[0] for row in await pool.fetch(SEASONS, "hours")] == [key(hour())]


async def test_a_board_defined_today_has_the_seasons_of_its_history(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        for back in (0, 0, 1, 40, 41, 41):
            await score.post(("ada", 1 + back), ("bob", 2), played_at=hour(back).isoformat())
        await score.define(copy={"schedule": "hourly"}, best={"schedule": "15 * * * *", "operator": "best"})
        assert await entries(pool, "copy") == await entries(pool)
        assert await pool.fetch(SEASONS, "copy") == await pool.fetch(SEASONS, "hours")
        assert len(await entries(pool, "best")) == 8
        await score.define(copy={"schedule": "hourly", "operator": "count"}, hours={"schedule": None})
    assert (key(hour(41)), "bob", 2) in await entries(pool, "copy")
    assert await entries(pool) == await entries(pool, "global")


async def test_what_came_too_late_does_not_count_in_a_board_defined_later_either(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        await score.post(("ada", 5), played_at=hour(5).isoformat())
        await score.post(("ada", 6), played_at=hour().isoformat())
        await score.define(hours={"schedule": "hourly"})
    assert await entries(pool) == [(key(hour()), "ada", 6)]
    assert len(await pool.fetch(SEASONS, "hours")) == 1


async def test_a_void_heals_the_season_the_session_was_played_in(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    cheat = str(uuid7())
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly", "operator": "best"})
        for back, points, session_id in ((0, 5, uuid7()), (1, 3, uuid7()), (1, 90, cheat)):
            await score.post(("ada", points), played_at=hour(back).isoformat(), session_id=str(session_id))
        game = await score.state["games"].get("demo")
        await score.state["moderation"].void(game, cheat, "cheated", "key-1")
    assert await entries(pool) == [(key(hour(1)), "ada", 3), (key(hour()), "ada", 5)]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"schedule": "fortnightly"}, "schedule"),
        ({"schedule": "61 * * * *"}, "schedule"),
        ({"schedule": "daily", "timezone": "Europe/Lundon"}, "timezone"),
        ({"timezone": "Nowhere"}, "timezone"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused(
    database_url: str, redis_url: str, body: dict[str, Any], path: str
) -> None:
    async with score_service(database_url, redis_url) as score:
        with pytest.raises(LeaderboardError) as error:
            await score.define(odd=body)
    assert [field.path for field in error.value.errors] == [path]


async def test_a_late_session_is_told_of_and_made_void_by_the_grace_its_season_began_with(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    late: dict[str, Any] = {"session_id": str(uuid7()), "played_at": hour(3).isoformat()}
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", 5), **late)
    async with score_service(database_url, redis_url, season_grace_seconds=0) as score:
        again, replayed = await score.post(("ada", 5), **late)
        assert (told(again)[1], replayed) == (5, True)
        game = await score.state["games"].get("demo")
        await score.state["moderation"].void(game, late["session_id"], "cheated", "")
    assert await entries(pool) == []


async def test_a_session_that_is_refused_leaves_no_season_behind(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    session_id = str(uuid7())
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", MAX_SCORE), session_id=session_id, played_at=hour().isoformat())
        for each in (str(uuid7()), session_id):
            with pytest.raises(LeaderboardError) as refused:
                await score.post(("ada", 1), session_id=each, played_at=hour(2).isoformat())
            assert refused.value.code in ("score_total_out_of_range", "session_conflict")
        assert [row["season"] for row in await pool.fetch(SEASONS, "hours")] == [key(hour())]
        await score.post(("bob", 1), played_at=hour(2).isoformat())
    assert [row["season"] for row in await pool.fetch(SEASONS, "hours")] == [key(hour(2)), key(hour())]


async def test_a_season_whose_row_a_failover_lost_is_opened_again(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define(hours={"schedule": "hourly"})
        await score.post(("ada", 5))
        await pool.execute("DELETE FROM seasons")
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'score_service' AND datname = current_database()"
        )
        await score.post(("ada", 1))
    assert len(await pool.fetch(SEASONS, "hours")) == 1
