"""Sessions in: recorded once, wholly or not at all, counted on every board, ranked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import UNSET
from msgspec.json import encode

from shared.errors import LeaderboardError
from shared.messages import SessionOut
from shared.names import MAX_SCORE, uuid7
from shared.postgres import Pool
from tests.score import Score, score_service

COUNTS = "SELECT (SELECT count(*) FROM game_sessions), (SELECT count(*) FROM session_results)"


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        yield score


def places(answer: SessionOut, board: str = "global") -> dict[str, tuple[object, ...]]:
    return {
        result.user_id: (entry.score, entry.rank, entry.previous_rank, entry.ties)
        for result in answer.results
        for entry in result.entries
        if entry.leaderboard == board
    }


async def test_an_answer_tells_score_rank_previous_rank_and_ties(score: Score) -> None:
    first, _ = await score.post(("ada", 10), ("bob", 20), ("cy", 10))
    assert places(first) == {"ada": (10, 2, None, 2), "bob": (20, 1, None, 1), "cy": (10, 2, None, 2)}
    second, replayed = await score.post(("ada", 10))
    assert (places(second), replayed) == ({"ada": (20, 1, 2, 2)}, False)


async def test_times_are_answered_in_utc_whatever_offset_they_came_with(score: Score) -> None:
    sent: dict[str, Any] = {"session_id": str(uuid7()), "played_at": "2026-01-02T03:04:05.5+02:00"}
    for _ in range(2):
        answer, _ = await score.post(("ada", 10), **sent)
        assert encode(answer.played_at) == b'"2026-01-02T01:04:05.500000Z"'


async def test_a_session_counts_on_every_board_that_admits_its_mode(score: Score) -> None:
    await score.define(
        ranked={"modes": ["ranked"], "operator": "best"},
        laps={"operator": "best", "order": "asc"},
        games={"operator": "count"},
        last={"operator": "latest"},
    )
    await score.post(("ada", 7), mode="casual")
    answer, _ = await score.post(("ada", 5), mode="ranked")
    scores = {entry.leaderboard: entry.score for entry in answer.results[0].entries}
    assert scores == {"games": 2, "global": 12, "laps": 5, "last": 5, "ranked": 5}


async def test_whoever_counts_nowhere_is_a_user_all_the_same(score: Score, pool: Pool) -> None:
    await score.define("chess", **{"global": {"modes": ["ranked"]}})
    answer, _ = await score.post(("ada", 1), ("bob", 1), game="chess", mode="friendly")
    assert [result.entries for result in answer.results] == [[], []]
    assert await pool.fetchval("SELECT array_agg(user_id ORDER BY user_id) FROM users") == ["ada", "bob"]


async def test_players_are_looked_up_when_an_entry_of_theirs_is_new(score: Score, pool: Pool) -> None:
    await score.post(("ada", 1))
    await pool.execute("DELETE FROM users")  # to see who looks
    await score.post(("ada", 1))
    assert await pool.fetchval("SELECT count(*) FROM users") == 0
    await score.define(best={"operator": "best"}, last={"operator": "latest"})
    await score.post(("ada", 1))
    assert await pool.fetchval("SELECT count(*) FROM users") == 1


async def test_a_replay_changes_nothing_and_answers_the_entries_as_they_are(score: Score, pool: Pool) -> None:
    session_id = str(uuid7())
    await score.post(("ada", 10), ("bob", 5), session_id=session_id)
    await score.post(("cy", 30))
    again, replayed = await score.post(("bob", 5), ("ada", 10), session_id=session_id.upper())
    assert replayed
    assert places(again) == {"ada": (10, 2, 2, 1), "bob": (5, 3, 3, 1)}
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (2, 3)


async def test_the_same_id_with_other_content_is_a_conflict(score: Score, pool: Pool) -> None:
    session_id = str(uuid4())
    await score.post(("ada", 10), session_id=session_id)
    others: list[dict[str, Any]] = [{"mode": "x"}, {"played_at": "2026-01-01T00:00:00Z"}]
    for other in others:
        with pytest.raises(LeaderboardError, match="other content"):
            await score.post(("ada", 10), session_id=session_id, **other)
    with pytest.raises(LeaderboardError, match="other content"):
        await score.post(("ada", 11), session_id=session_id)
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (1, 1)


async def test_a_game_is_a_namespace_of_session_ids(score: Score) -> None:
    await score.define("chess")
    session_id = str(uuid7())
    await score.post(("ada", 1), session_id=session_id)
    answer, replayed = await score.post(("ada", 2), session_id=session_id, game="chess")
    assert (places(answer)["ada"][0], replayed) == (2, False)


async def test_the_same_session_many_times_at_once_counts_once(score: Score, pool: Pool) -> None:
    session_id = str(uuid7())
    answers = await asyncio.gather(*(score.post(("ada", 3), session_id=session_id) for _ in range(20)))
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 19
    assert {places(answer)["ada"][0] for answer, _ in answers} == {3}
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (1, 1)


async def test_totals_are_exact_to_the_last_integer_and_refused_past_it(score: Score, pool: Pool) -> None:
    answer, _ = await score.post(("ada", MAX_SCORE))
    assert places(answer)["ada"] == (MAX_SCORE, 1, None, 1)
    outcomes = await asyncio.gather(
        score.post(("ada", 1), ("bob", 7)), score.post(("bob", 2)), return_exceptions=True
    )
    assert isinstance(outcomes[0], LeaderboardError)
    assert outcomes[0].code == "score_total_out_of_range"
    assert "ada on global" in outcomes[0].detail
    assert not isinstance(outcomes[1], BaseException)
    assert places(outcomes[1][0])["bob"] == (2, 2, None, 1)
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (2, 2)


async def test_a_session_that_breaks_a_bound_is_refused_whole(score: Score, pool: Pool) -> None:
    await score.define(small={"max_score": 10, "operator": "best"}, low={"min_score": -5, "modes": ["m"]})
    with pytest.raises(LeaderboardError) as error:
        await score.post(("ada", 1), ("bob", 11))
    assert error.value.code == "score_out_of_bounds"
    assert "bob" in error.value.detail
    assert "small" in error.value.detail
    assert error.value.errors[0].path == "results[1].score"
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (0, 0)


async def test_a_replay_is_decided_before_anything_that_can_change(score: Score) -> None:
    session_id = str(uuid7())
    await score.post(("ada", 50), session_id=session_id)
    await score.define(small={"max_score": 10})
    answer, replayed = await score.post(("ada", 50), session_id=session_id)
    assert replayed
    assert places(answer)["ada"][0] == 50
    with pytest.raises(LeaderboardError) as error:
        await score.post(("ada", 51), session_id=session_id)
    assert error.value.code == "session_conflict"


@pytest.mark.parametrize("played_at", ["1999-12-31T23:59:59Z", "soon"])
async def test_a_time_that_cannot_be_is_refused(score: Score, pool: Pool, played_at: str) -> None:
    if played_at == "soon":
        played_at = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    with pytest.raises(LeaderboardError) as error:
        await score.post(("ada", 1), played_at=played_at)
    assert [field.path for field in error.value.errors] == ["played_at"]
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (0, 0)


@pytest.mark.parametrize("ahead", [0, 2**48 - 1])
async def test_a_v7_id_from_the_day_after_tomorrow_is_refused(score: Score, ahead: int) -> None:
    ahead = ahead or int((datetime.now(UTC) + timedelta(days=2)).timestamp() * 1000)
    session_id = UUID(int=ahead << 80 | 7 << 76 | 2 << 62)
    with pytest.raises(LeaderboardError) as error:
        await score.post(("ada", 1), session_id=str(session_id))
    assert [field.path for field in error.value.errors] == ["session_id"]


@pytest.mark.parametrize(
    "session_id", [uuid4(), UUID(int=0), UUID(int=2**128 - 1), UUID(int=1 << 80 | 7 << 76 | 2 << 62)]
)
async def test_every_uuid_has_a_partition(score: Score, session_id: UUID) -> None:
    _, replayed = await score.post(("ada", 1), session_id=str(session_id))
    assert not replayed
    assert (await score.post(("ada", 1), session_id=str(session_id)))[1]


async def test_a_user_twice_and_large_metadata_are_named(score: Score) -> None:
    with pytest.raises(LeaderboardError) as error:
        await score.post(("ada", 1), ("bob", 1), ("ada", 2))
    assert error.value.errors[0].path == "results[2].user_id"
    results = [{"user_id": "ada", "score": 1, "metadata": {"k": "x" * 1100}}]
    with pytest.raises(LeaderboardError) as error:
        await score.post(results=results)
    assert error.value.errors[0].path == "results[0].metadata"


async def test_a_hundred_callers_share_commits_and_no_point_is_lost(score: Score, pool: Pool) -> None:
    answers = await asyncio.gather(*(score.post((f"u{i % 7}", i)) for i in range(300)))
    totals = {f"u{n}": sum(i for i in range(300) if i % 7 == n) for n in range(7)}
    rows = await pool.fetch("SELECT user_id, score FROM entries")
    assert {row["user_id"]: row["score"] for row in rows} == totals
    assert all(entry.rank is not UNSET for answer, _ in answers for entry in answer.results[0].entries)
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM game_sessions") < 100


async def test_the_record_reads_back_as_it_was_sent(score: Score) -> None:
    session_id = str(uuid7())
    results = [{"user_id": "ada", "score": 1, "metadata": {"hero": "mage"}}, {"user_id": "bob", "score": 2}]
    await score.post(
        results=results, session_id=session_id, mode="ranked", played_at="2026-01-01T01:00:00+01:00"
    )
    record = await score.state["history"].session(await score.state["games"].get("demo"), session_id)
    assert (record.mode, record.played_at) == ("ranked", datetime(2026, 1, 1, tzinfo=UTC))
    assert [(r.user_id, r.score) for r in record.results] == [("ada", 1), ("bob", 2)]
    for unknown in (str(uuid7()), "nonsense"):
        with pytest.raises(LeaderboardError, match="has no session"):
            await score.state["history"].session(await score.state["games"].get("demo"), unknown)
