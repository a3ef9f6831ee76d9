"""Dry runs: who would move by another definition, and that nothing is changed by asking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest

from deploy.backup import contents
from score_service import preview
from shared.answers import Move, Preview
from shared.errors import LeaderboardError
from shared.messages import LeaderboardIn
from shared.names import MAX_SCORE
from shared.postgres import Pool
from tests.integration.test_score_seasons import WEEK, hour
from tests.score import Score, score_service
from tests.support import wait_until


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define()
        yield score


async def asked(score: Score, board: str = "global", **body: Any) -> Preview:
    found: Preview = await score.state["previews"].preview(
        await score.state["games"].get("demo"), board, msgspec.convert(body, LeaderboardIn), "key-1"
    )
    return found


def told(side: Any) -> list[tuple[int, str, int, int]]:
    return [(entry.rank, entry.user_id, entry.score, entry.ties) for entry in side.entries]


async def test_a_preview_tells_who_would_move(score: Score) -> None:
    for results in (
        [("ada", 5), ("bob", 4), ("cat", 3)],
        [("ada", 1), ("bob", 8)],
        [("dan", 9), ("bot", 99)],
    ):
        await score.post(*results)
    await score.state["moderation"].ban(await score.state["games"].get("demo"), "bot", None, "key-1")
    found = await asked(score, operator="best", min_score=4)
    assert told(found.before) == [(1, "bob", 12, 1), (2, "dan", 9, 1), (3, "ada", 6, 1), (4, "cat", 3, 1)]
    assert told(found.after) == [(1, "dan", 9, 1), (2, "bob", 8, 1), (3, "ada", 5, 1)]
    assert (found.before.total, found.after.total, found.changed, found.season) == (4, 3, 3, "all")
    assert (found.largest_rise, found.largest_fall) == (Move("dan", 2, 1), Move("bob", 1, 2))


async def test_the_same_definition_moves_nobody(score: Score) -> None:
    await score.post(("ada", 5), ("bob", 5), ("cat", 3))
    found = await asked(score)
    assert (found.changed, found.largest_rise, found.largest_fall) == (0, None, None)
    assert told(found.before) == told(found.after) == [(1, "ada", 5, 2), (1, "bob", 5, 2), (3, "cat", 3, 1)]


async def test_what_is_previewed_is_what_is_then_defined(score: Score, pool: Pool) -> None:
    for n in range(30):
        await score.post((f"u{n % 7}", n), (f"v{n % 5}", 3 * n % 11), mode="ranked" if n % 2 else "casual")
    body: dict[str, Any] = {
        "operator": "latest",
        "order": "asc",
        "ties": "dense",
        "modes": ["ranked"],
        "min_score": 2,
    }
    found = await asked(score, **body)
    await score.define(**{"global": body})
    after = await asked(score, **body)
    assert told(found.after) == told(after.before)
    assert (after.changed, found.after.total) == (0, after.before.total)


async def test_a_scheduled_board_is_previewed_in_its_current_season(score: Score) -> None:
    await score.post(("ada", 5), played_at=hour(30).isoformat())
    await score.post(("bob", 3), played_at=hour().isoformat())
    found = await asked(score, "new", schedule="hourly")
    assert (found.before.total, found.before.entries) == (0, [])
    assert told(found.after) == [(1, "bob", 3, 1)]
    assert found.season != "all"


async def test_nothing_is_changed_by_a_preview(database_url: str, score: Score, pool: Pool) -> None:
    await score.post(("ada", 5), ("bob", 4))
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    with psycopg.connect(database_url) as connection:
        before = contents(connection)
    for body in ({"operator": "count"}, {"schedule": "daily"}, {"ties": "first"}):
        await asked(score, **body)
    with psycopg.connect(database_url) as connection:
        after = contents(connection)
    assert {name for name in after if after[name] != before[name]} == {"audit_log"}
    row = await pool.fetchrow("SELECT DISTINCT key_id, subject FROM audit_log WHERE action = 'preview'")
    assert row is not None
    assert tuple(row) == ("key-1", "global")


async def test_what_could_not_be_built_is_refused(score: Score) -> None:
    await score.define(**{"global": {"operator": "best"}})
    for _ in range(2):
        await score.post(("ada", MAX_SCORE))
    with pytest.raises(LeaderboardError) as error:
        await asked(score)
    assert error.value.code == "score_total_out_of_range"


async def test_a_history_too_long_to_preview_is_given_up(
    score: Score, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "LONGEST", 0.2)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE session_results IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LeaderboardError) as error:
            await asked(score)
    assert error.value.code == "deadline_exceeded"
    assert (await asked(score)).changed == 0
