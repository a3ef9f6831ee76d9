"""Daily ranks: who is noted, once a day for each board, for how long; what has changed since yesterday."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from rank_service.store import Store
from rank_service.yesterday import Yesterday
from score_service.snapshots import Snapshots
from score_service.store import SQL
from shared.names import uuid7
from shared.postgres import Pool
from shared.ranking import Ranking
from tests.rank import Rank, rank_service
from tests.score import Score, score_service
from tests.support import wait_until

TODAY = datetime.now(UTC).date()
ASKED = """SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND query ~ 'WITH ORDINALITY AS wanted'"""


@pytest.fixture
async def score(database_url: str, redis_url: str, pool: Pool) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define(dense={"ties": "dense"}, first={"ties": "first", "operator": "best"})
        await pool.execute("UPDATE leaderboards SET created_at = now() - interval '9 days'")
        yield score


@pytest.fixture
async def rank(database_url: str, redis_url: str, score: Score, pool: Pool) -> AsyncIterator[Rank]:
    await pool.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    async with rank_service(database_url, redis_url, rank_audit_ms=3_600_000) as rank:
        yield rank


async def end_day(pool: Pool, days: int = 90) -> None:
    """Take snapshots as after midnight: those there are become a day older before."""
    await pool.execute("UPDATE snapshot_ranks SET day = day - 1")
    await pool.execute("UPDATE snapshots SET day = day - 1")
    await Snapshots(pool, days=days).run()


async def history(rank: Rank, user: str, board: str = "global", **query: Any) -> list[tuple[int, ...]]:
    """Return (days ago, rank, score, total) of a user."""
    found = await rank.get(f"/leaderboards/{board}/users/{user}/history", **query)
    assert (found["leaderboard"], found["season"]["id"], found["user_id"]) == (board, "all", user)
    return [
        ((TODAY - datetime.fromisoformat(day["date"]).date()).days, day["rank"], day["score"], day["total"])
        for day in found["days"]
    ]


async def test_a_day_notes_the_ranks_of_those_whose_entries_changed(
    score: Score, rank: Rank, pool: Pool
) -> None:
    await score.post(("ada", 5), ("bob", 5), ("cid", 3))
    await end_day(pool)
    await score.post(("cid", 1))
    await end_day(pool)
    await score.post(("cid", 9))
    await end_day(pool)
    assert await history(rank, "cid") == [(3, 3, 3, 3), (2, 3, 4, 3), (1, 1, 13, 3)]
    assert await history(rank, "bob") == [(3, 1, 5, 3)]
    assert await history(rank, "cid", "dense") == [(3, 2, 3, 3), (2, 2, 4, 3), (1, 1, 13, 3)]
    assert await history(rank, "bob", "first") == [(3, 2, 5, 3)]
    assert await history(rank, "cid", days=1) == [(1, 1, 13, 3)]
    assert await rank.code("/leaderboards/global/users/nobody/history") == "entry_not_found"
    assert await rank.code("/leaderboards/global/users/ada/history", days=401) == "invalid_request"


async def test_a_ranking_has_one_snapshot_a_day_however_many_replicas_take_it(
    score: Score, pool: Pool
) -> None:
    await score.post(("ada", 5))
    others = [Snapshots(pool, days=90) for _ in range(4)]
    await asyncio.gather(*(each.run() for each in others))
    await others[0].run()
    assert await pool.fetchval("SELECT count(*) FROM snapshots") == 3
    assert await pool.fetchval("SELECT count(*) FROM snapshot_ranks") == 3


async def test_a_snapshot_that_failed_leaves_nothing_and_is_taken_by_the_next_run(
    score: Score, pool: Pool
) -> None:
    await score.post(("ada", 5))
    await pool.execute("ALTER TABLE snapshot_ranks ADD CONSTRAINT no CHECK (score <> 5) NOT VALID")
    with pytest.raises(Exception, match="violates check"):
        await Snapshots(pool, days=90).run()
    assert await pool.fetchval("SELECT count(*) FROM snapshots") == 0
    await pool.execute("ALTER TABLE snapshot_ranks DROP CONSTRAINT no")
    await Snapshots(pool, days=90).run()
    assert await pool.fetchval("SELECT count(*) FROM snapshot_ranks") == 3


async def test_a_change_that_was_not_committed_when_the_day_ended_is_noted_the_next_day(
    score: Score, pool: Pool
) -> None:
    """The mark is read alone behind the gate: a version given out before it is never still on its way."""
    await score.post(("ada", 5))
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["enter_gate"], [1])
        await connection.execute("UPDATE entries SET version = nextval('entry_version') WHERE score = 5")
        task = asyncio.create_task(Snapshots(pool, days=90).run())
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_until(lambda: pool.fetchval(waiting))
    await task
    assert await pool.fetchval("SELECT count(*) FROM snapshot_ranks") == 3


async def test_ranks_are_kept_for_so_many_days(score: Score, pool: Pool) -> None:
    for _ in range(4):
        await score.post(("ada", 5))
        await end_day(pool, days=2)
    assert await pool.fetchval("SELECT array_agg(DISTINCT day ORDER BY day) FROM snapshot_ranks") == [
        TODAY - timedelta(days=2),
        TODAY - timedelta(days=1),
    ]
    await Snapshots(pool, days=0).run()
    assert await pool.fetchval("SELECT count(*) FROM snapshots") == 0


async def test_an_entry_says_how_far_it_has_risen_since_yesterday(
    score: Score, rank: Rank, pool: Pool
) -> None:
    await score.post(("ada", 5), ("bob", 4), ("cid", 3))
    await end_day(pool)
    await score.post(("cid", 9), ("dan", 1))
    rises = {"ada": -1, "bob": -1, "cid": 2, "dan": None}
    for user, risen in rises.items():
        for path in ("", "/around"):
            entry = (await rank.get(f"/leaderboards/global/users/{user}{path}"))["entry"]
            assert entry["rank_change"] == risen
    asked = await pool.fetchval(ASKED)
    for user in rises:
        await rank.get(f"/leaderboards/global/users/{user}")
    assert 0 < asked == await pool.fetchval(ASKED)


async def test_a_board_without_a_snapshot_is_asked_about_once(score: Score, rank: Rank, pool: Pool) -> None:
    await score.post(*[(f"u{n}", n) for n in range(20)])
    for n in range(20):
        entry = (await rank.get(f"/leaderboards/global/users/u{n}"))["entry"]
        assert entry["rank_change"] is None
    assert await pool.fetchval(ASKED) == 1


async def test_an_erased_user_has_no_past_under_the_same_id(score: Score, rank: Rank, pool: Pool) -> None:
    session_id = str(uuid7())
    await score.post(("ada", 5), ("bob", 4), session_id=session_id)
    await end_day(pool)
    assert (await rank.get("/leaderboards/global/users/ada"))["entry"]["rank_change"] == 0
    await score.state["erasure"].erase(await score.state["games"].get("demo"), "ada", "key-1")
    await score.post(("ada", 1))

    async def forgotten() -> bool:
        entry = (await rank.get("/leaderboards/global/users/ada"))["entry"]
        return bool(entry["rank_change"] is None)

    await wait_until(forgotten)
    assert await history(rank, "ada") == []


class Slow(Store):
    """Reads at once, and answers when it is let."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.has_read, self.may_answer = asyncio.Event(), asyncio.Event()

    async def ranks_on_day(
        self, day: date, asked: Sequence[tuple[Ranking, str]]
    ) -> list[tuple[bool, int | None]]:
        rows = await super().ranks_on_day(day, asked)
        self.has_read.set()
        await self.may_answer.wait()
        return rows


@pytest.mark.parametrize("heard", [True, False])
async def test_what_was_read_before_an_erasure_is_not_kept_after_it(
    score: Score, pool: Pool, heard: bool
) -> None:
    await score.post(("ada", 5))
    await end_day(pool)
    game, store = await score.state["games"].get("demo"), Slow(pool)
    yesterday, ranking = Yesterday(store), game.board("global").ranking(0)
    asking = asyncio.create_task(yesterday.rank(ranking, "ada"))
    await store.has_read.wait()
    await score.state["erasure"].erase(game, "ada", "key-1")
    if heard:
        yesterday.forget("ada")
    else:  # the subscription was lost meanwhile
        yesterday.forget_all()
    store.may_answer.set()
    await asking
    await yesterday.close()
    assert await yesterday.rank(ranking, "ada") is None
    await yesterday.close()
