"""Games, leaderboards and profiles as the studio defines them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.errors import LeaderboardError
from shared.messages import GameIn, LeaderboardIn, ProfileIn
from shared.names import MAX_SCORE
from shared.postgres import Pool
from shared.profiles import read, read_kept
from tests.score import Score, score_service
from tests.support import wait_until


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        yield score


async def entries(pool: Pool, board: str) -> dict[str, int]:
    sql = """SELECT user_id, score FROM entries JOIN leaderboards USING (leaderboard_id, generation)
              WHERE leaderboard = $1"""
    return {row["user_id"]: row["score"] for row in await pool.fetch(sql, board)}


async def profile_version(redis: Redis, game_id: int) -> bytes | None:
    _, *keys = read(game_id, ["ada"])
    return read_kept(await redis.mget(keys), 1).version


async def test_a_new_game_has_the_board_global(score: Score) -> None:
    game, is_new = await score.state["definitions"].put_game("chess", GameIn(title="Chess"))
    assert (game.game, game.title, is_new) == ("chess", "Chess", True)
    board = (await score.state["games"].get("chess")).board("global")
    assert (board.operator, board.order, board.ties, board.schedule) == ("sum", "desc", "competition", None)
    renamed, is_new = await score.state["definitions"].put_game("chess", GameIn())
    assert (renamed.title, is_new) == (None, False)


async def test_an_archived_game_is_hidden_refuses_writes_and_comes_back(score: Score) -> None:
    await score.post(("ada", 1))
    game = await score.state["games"].get("demo")
    assert (await score.state["definitions"].archive_game(game)).archived_at is not None
    with pytest.raises(LeaderboardError, match="no game"):
        await score.post(("ada", 1))
    await score.state["definitions"].put_game("demo", GameIn())
    answer, _ = await score.post(("ada", 1))
    assert answer.results[0].entries[0].score == 2


async def test_a_board_defined_today_is_ranked_from_the_first_session(score: Score, pool: Pool) -> None:
    for points in (5, 3, 9):
        await score.post(("ada", points), ("bob", 4), mode="ranked")
    await score.post(("ada", 100), mode="casual")
    await score.define(best={"operator": "best", "modes": ["ranked"]}, low={"order": "asc", "max_score": 4})
    assert await entries(pool, "best") == {"ada": 9, "bob": 4}
    assert await entries(pool, "low") == {"ada": 3, "bob": 12}


async def test_a_changed_fold_is_a_new_generation_and_the_old_entries_go(
    database_url: str, redis_url: str, score: Score, pool: Pool
) -> None:
    await score.post(("ada", 5))
    await score.post(("ada", 3))
    await score.define(**{"global": {"operator": "best"}})
    assert await entries(pool, "global") == {"ada": 5}
    assert (await score.state["games"].get("demo")).board("global").generation == 2
    answer, _ = await score.post(("ada", 7))
    assert (answer.results[0].entries[0].score, answer.results[0].entries[0].rank) == (7, 1)
    async with score_service(database_url, redis_url):  # one that starts clears away at once
        await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM discarded)"))
    assert await pool.fetchval("SELECT count(*) FROM entries") == 1


async def test_a_new_title_keeps_the_entries(score: Score) -> None:
    await score.post(("ada", 5))
    await score.define(**{"global": {"title": "All time"}})
    board = (await score.state["games"].get("demo")).board("global")
    assert (board.generation, board.title) == (1, "All time")


async def test_a_new_bound_leaves_out_what_is_past_it(score: Score, pool: Pool) -> None:
    await score.post(("ada", 5), ("bob", 99))
    await score.define(**{"global": {"max_score": 50}})
    assert await entries(pool, "global") == {"ada": 5}


async def test_a_dropped_board_is_gone_and_may_be_made_again(score: Score, pool: Pool) -> None:
    await score.define(extra={})
    await score.post(("ada", 5))
    game = await score.state["games"].get("demo")
    await score.state["definitions"].drop_leaderboard(game, "extra")
    with pytest.raises(LeaderboardError, match="no leaderboard"):
        await score.state["definitions"].drop_leaderboard(game, "extra")
    answer, _ = await score.post(("ada", 1))
    assert [entry.leaderboard for entry in answer.results[0].entries] == ["global"]
    await score.define(extra={})
    assert await entries(pool, "extra") == {"ada": 6}


@pytest.mark.parametrize(
    ("body", "path"),
    [({"min_score": 5, "max_score": 4}, "min_score"), ({"schedule": "now and then"}, "schedule")],
)
async def test_a_definition_that_makes_no_sense_is_refused(
    score: Score, body: dict[str, Any], path: str
) -> None:
    with pytest.raises(LeaderboardError) as error:
        await score.define(odd=body)
    assert [field.path for field in error.value.errors] == [path]


async def test_a_history_whose_total_would_be_out_of_range_makes_no_board(score: Score, pool: Pool) -> None:
    await score.define(**{"global": {"operator": "best"}})
    await score.post(("ada", MAX_SCORE))
    await score.post(("ada", MAX_SCORE))
    with pytest.raises(LeaderboardError) as error:
        await score.define(total={"operator": "sum"})
    assert error.value.code == "score_total_out_of_range"
    assert await pool.fetchval("SELECT count(*) FROM leaderboards") == 1


@pytest.mark.parametrize("name", ["", "UPPER", "-dash", "a" * 65, "ä", "a\n"])
async def test_ids_that_break_their_rule_are_refused(score: Score, name: str) -> None:
    game = await score.state["games"].get("demo")
    for put in (
        score.state["definitions"].put_game(name, GameIn()),
        score.state["definitions"].put_leaderboard(game, name, LeaderboardIn()),
        score.state["users"].put(game, name if name != "UPPER" else "me", ProfileIn()),
    ):
        with pytest.raises(LeaderboardError) as error:
            await put
        assert error.value.status == 422


async def test_a_profile_is_put_and_its_copies_are_forgotten_before_the_answer(
    score: Score, redis: Redis, pool: Pool
) -> None:
    game = await score.state["games"].get("demo")
    before = await profile_version(redis, game.game_id)
    profile, is_new = await score.state["users"].put(game, "ada", ProfileIn(display_name="Ada", country="GB"))
    assert (profile.display_name, profile.country, is_new) == ("Ada", "GB", True)
    after = await profile_version(redis, game.game_id)
    assert after not in (before, None)
    assert not (await score.state["users"].put(game, "ada", ProfileIn()))[1]
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))


async def test_a_profile_put_without_redis_is_invalidated_by_the_outbox(
    database_url: str, redis_url: str, redis: Redis, pool: Pool
) -> None:
    async with score_service(database_url, "redis://127.0.0.1:1/0") as crashed:
        await crashed.define()
        game = await crashed.state["games"].get("demo")
        await crashed.state["users"].put(game, "ada", ProfileIn(display_name="Ada"))
    async with score_service(database_url, redis_url):
        await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    assert await profile_version(redis, game.game_id) is not None
