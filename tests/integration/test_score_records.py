"""What an admin looks up: sessions by player and time, all that is held about one user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from score_service.records import Records
from shared.boards import Game
from shared.cursors import position_of
from shared.errors import LeaderboardError
from shared.messages import GameIn, LeaderboardIn, ProfileIn
from tests.score import Score, score_service

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        for n in range(10):
            # Pairs are played at the same moment: the id decides their order.
            at = (START + timedelta(minutes=n // 2)).isoformat()
            results = [{"user_id": "ada", "score": n, "metadata": {"n": n}}] if n % 3 else []
            results.append({"user_id": "bob", "score": n})
            await score.post(results=results, session_id=str(UUID(int=n + 1)), played_at=at)
        yield score


@pytest.fixture
async def game(score: Score) -> Game:
    return await score.state["games"].get("demo")


async def found(records: Records, game: Game, user: str | None, limit: int) -> list[int]:
    ids: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        after = position_of(cursor) if cursor else None
        page = await records.find(game, user, START, START + timedelta(minutes=4), after, limit)
        assert len(page.sessions) <= limit
        ids += [session.session_id.int for session in page.sessions]
        cursor = page.next_cursor
    return ids


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_sessions_are_found_by_time_newest_first_page_by_page(
    score: Score, game: Game, limit: int
) -> None:
    records = score.state["records"]
    assert await found(records, game, None, limit) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert await found(records, game, "ada", limit) == [8, 6, 5, 3, 2]
    assert await found(records, game, "nobody", limit) == []


async def test_an_export_holds_profile_entries_results_and_audit(score: Score, game: Game) -> None:
    await score.state["users"].put(game, "ada", ProfileIn(display_name="Ada"))
    await score.state["moderation"].ban(game, "ada", "bot", "key-1")
    export = await score.state["records"].export(game, "ada", None)
    assert (export.display_name, export.ban_reason) == ("Ada", "bot")
    assert [(entry.leaderboard, entry.season, entry.score) for entry in export.entries] == [
        ("global", "all", 27)
    ]
    assert [result.score for result in export.results] == [8, 7, 5, 4, 2, 1]
    assert bytes(export.results[0].metadata or b"") == b'{"n": 8}'
    assert [(line.action, line.key_id) for line in export.audit] == [("ban", "key-1")]
    assert export.next_cursor is None
    again = await score.state["records"].export(game, "ada", None, "key-2")
    assert [line.action for line in again.audit] == ["ban", "export"]
    (last, *_) = (await score.state["records"].audit(game, 2**63 - 1, 1)).audit
    assert (last.key_id, last.action, last.subject) == ("key-2", "export", "ada")


async def test_a_long_export_is_whole_page_by_page(
    score: Score, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("score_service.records.EXPORT_RESULTS", 4)
    first = await score.state["records"].export(game, "bob", None)
    assert first.next_cursor is not None
    rest = await score.state["records"].export(game, "bob", position_of(first.next_cursor))
    third = await score.state["records"].export(game, "bob", position_of(rest.next_cursor or ""))
    pages = [first, rest, third]
    assert [result.score for page in pages for result in page.results] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert third.next_cursor is None


async def test_the_audit_tells_who_changed_what_newest_first_page_by_page(score: Score, game: Game) -> None:
    definitions, moderation = score.state["definitions"], score.state["moderation"]
    for _ in range(2):  # what changes nothing is not written down
        await definitions.put_game("demo", GameIn(title="Demo"), "key-1")
        await definitions.put_leaderboard(game, "wins", LeaderboardIn(operator="count"), "key-1")
    await definitions.put_leaderboard(game, "wins", LeaderboardIn(), "key-2")
    await definitions.drop_leaderboard(game, "wins", "key-2")
    await moderation.ban(game, "ada", "bot", "key-3")
    await definitions.archive_game(game, "key-3")
    await definitions.put_game("demo", GameIn(title="Demo"), "key-4")
    lines: list[tuple[str | None, ...]] = []
    cursor: str | None = str(2**63 - 1)
    while cursor is not None:
        page = await score.state["records"].audit(game, int(cursor), 3)
        lines += [(act.key_id, act.action, act.subject, act.reason) for act in page.audit]
        cursor = page.next_cursor
    assert lines == [
        ("key-4", "restore_game", "demo", None),
        ("key-3", "archive_game", "demo", None),
        ("key-3", "ban", "ada", "bot"),
        ("key-2", "drop", "wins", None),
        ("key-2", "redefine", "wins", None),
        ("key-1", "define", "wins", None),
        ("key-1", "rename_game", "demo", None),
        ("", "create_game", "demo", None),
    ]


async def test_nothing_is_held_about_a_stranger(score: Score, game: Game) -> None:
    for user in ("nobody", "not an id"):
        with pytest.raises(LeaderboardError) as error:
            await score.state["records"].export(game, user, None)
        assert error.value.code == "user_not_found"
