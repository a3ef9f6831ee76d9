"""What an admin does is seen at once: in every read, in streams, and in all that is read of a game."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.boards import Game
from shared.messages import GameIn
from shared.names import uuid7
from tests.integration.test_rank_live import reading
from tests.rank import Rank, rank_service
from tests.score import Score, score_service
from tests.support import wait_until

TIES: dict[str, Any] = {"first": {"ties": "first"}, "dense": {"ties": "dense"}}
BOARDS = ("global", *TIES)


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define(**TIES)
        yield score


@pytest.fixture
async def rank(database_url: str, redis_url: str, score: Score) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url) as rank:
        yield rank


@pytest.fixture
async def game(score: Score) -> Game:
    return await score.state["games"].get("demo")


async def seen(rank: Rank, board: str) -> list[tuple[str, int, int]]:
    """Return (user, rank, score) of a board, the same however it is asked for."""
    page = await rank.get(f"/leaderboards/{board}/top")
    found = [(entry["user_id"], entry["rank"], entry["score"]) for entry in page["entries"]]
    assert page["total"] == len(found)
    for user, place, score in found:
        entry = (await rank.get(f"/leaderboards/{board}/users/{user}"))["entry"]
        assert (entry["rank"], entry["score"]) == (place, score)
    body = {"user_ids": ["ada", "bot", "cyd"]}
    looked = (await rank.client.post(f"/v1/games/demo/leaderboards/{board}/lookup", json=body)).json()
    assert [(each["user_id"], each["rank"], each["score"]) for each in looked["entries"]] == found
    last = found[-1][0]
    around = await rank.get(f"/leaderboards/{board}/users/{last}/around")
    assert [each["user_id"] for each in around["entries"]] == [user for user, *_ in found]
    assert (await rank.get(f"/leaderboards/{board}/rank", score=1))["rank"] == len(found) + 1
    return found


async def test_a_ban_and_its_end_are_seen_by_the_next_read(score: Score, rank: Rank, game: Game) -> None:
    await score.post(("bot", 50), ("ada", 5), ("cyd", 4))
    everyone = [("bot", 1, 50), ("ada", 2, 5), ("cyd", 3, 4)]
    for board in BOARDS:
        await rank.ready(board)
        assert await seen(rank, board) == everyone
    await score.state["moderation"].ban(game, "bot", None, "key-1")
    for board in BOARDS:
        assert await seen(rank, board) == [("ada", 1, 5), ("cyd", 2, 4)]
        assert await rank.code(f"/leaderboards/{board}/users/bot") == "entry_not_found"
    assert (await rank.get("/users/bot"))["entries"] == []
    await score.state["moderation"].unban(game, "bot", "key-1")
    for board in BOARDS:
        assert await seen(rank, board) == everyone


async def test_a_void_is_seen_by_the_next_read_and_in_streams(score: Score, rank: Rank, game: Game) -> None:
    cheat = str(uuid7())
    await score.post(("ada", 5), ("cyd", 4))
    await score.post(("bot", 50), ("ada", 1), session_id=cheat)
    for board in BOARDS:
        await rank.ready(board)
    async with reading(rank) as stream:
        await stream.event("top")
        await score.state["moderation"].void(game, cheat, "cheated", "key-1")
        for board in BOARDS:
            assert await seen(rank, board) == [("ada", 1, 5), ("cyd", 2, 4)]
        await wait_until(
            lambda: [each["user_id"] for each in stream.events("top")[-1]["entries"]] == ["ada", "cyd"]
        )
        await score.state["moderation"].ban(game, "ada", None, "key-1")
        await wait_until(lambda: [each["user_id"] for each in stream.events("top")[-1]["entries"]] == ["cyd"])


async def test_an_archived_game_is_hidden_from_readers_until_it_is_restored(
    score: Score, rank: Rank, game: Game
) -> None:
    await score.post(("ada", 5))
    await rank.ready()
    await score.state["definitions"].archive_game(game)

    async def status() -> int:
        return (await rank.client.get("/v1/games/demo/leaderboards/global/top")).status_code

    async def is_hidden() -> bool:
        return await status() == 404

    async def is_back() -> bool:
        return await status() == 200

    await wait_until(is_hidden)
    for path in ("/leaderboards", "/leaderboards/global", "/users/ada", "/leaderboards/global/users/ada"):
        assert await rank.code(path) == "game_not_found"
    await score.state["definitions"].put_game("demo", GameIn())
    await wait_until(is_back)
    assert await seen(rank, "global") == [("ada", 1, 5)]
