from __future__ import annotations

import asyncio

import pytest

from shared import boards
from shared.boards import Games
from shared.errors import LeaderboardError, StoreUnavailable
from shared.postgres import Pool
from tests.rank import put_board
from tests.support import wait_until


async def test_an_unknown_game_is_looked_up_every_time(pool: Pool) -> None:
    games = Games(pool)
    with pytest.raises(LeaderboardError) as error:
        await games.get("demo")
    assert error.value.code == "game_not_found"
    await put_board(pool)
    assert (await games.get("demo")).game == "demo"


async def test_an_unknown_leaderboard_is_looked_up_before_it_is_called_unknown(pool: Pool) -> None:
    games = Games(pool)
    await put_board(pool)
    with pytest.raises(LeaderboardError) as error:
        await games.board("demo", "weekly")
    assert error.value.code == "leaderboard_not_found"
    board = await put_board(pool, "weekly", ties="dense", order="asc")
    assert await games.board("demo", "weekly") == board


@pytest.mark.parametrize("game", ["", "Demo", "a/b", "x" * 65, "\0", "демо"])
async def test_what_cannot_be_a_game_is_not_asked_for(pool: Pool, game: str) -> None:
    with pytest.raises(LeaderboardError) as error:
        await Games(pool).get(game)
    assert error.value.code == "game_not_found"


async def test_a_change_is_seen_once_it_is_announced(pool: Pool) -> None:
    games = Games(pool)
    board = await put_board(pool)
    await games.board("demo", "global")
    await pool.execute("UPDATE leaderboards SET title = 'New'")
    assert await games.board("demo", "global") == board
    games.forget("demo")
    assert (await games.board("demo", "global")).title == "New"


async def test_a_change_is_seen_without_an_announcement(pool: Pool) -> None:
    games = Games(pool)
    await put_board(pool)
    await games.board("demo", "global")
    await pool.execute("UPDATE leaderboards SET title = 'New'")

    async def changed() -> bool:
        return (await games.board("demo", "global")).title == "New"

    await wait_until(changed, timeout=2)


async def test_an_archived_game_is_gone(pool: Pool) -> None:
    games = Games(pool)
    await put_board(pool)
    await games.get("demo")
    await pool.execute("UPDATE games SET archived_at = now()")
    games.forget("demo")
    with pytest.raises(LeaderboardError):
        await games.get("demo")


async def test_what_is_known_serves_while_postgres_is_away(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "MAX_AGE", 0.0)
    games = Games(pool)
    board = await put_board(pool)
    await games.board("demo", "global")
    pool.terminate()
    assert await games.board("demo", "global") == board
    with pytest.raises(StoreUnavailable):
        await games.get("other")
    await games.close()


async def test_requests_share_a_lookup(pool: Pool) -> None:
    games = Games(pool)
    await put_board(pool)
    found = await asyncio.gather(*(games.get("demo") for _ in range(50)))
    assert all(game is found[0] for game in found)
