"""Seasons as they are read: which one is current, past ones by id, sealed ones by their stored ranks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from shared.names import season_id
from shared.postgres import Pool
from shared.ranking import Board
from tests.rank import Rank, put_board, put_entries, rank_service

HOUR = 3600
NOW = 1_795_728_600  # 2026-11-26T21:30:00Z
THIS = NOW - 1800
SEALED = [("ada", 90), ("bob", 70), ("cat", 70), ("dan", 50), ("eve", 10)]
Row = tuple[int, str, int]


@pytest.fixture
async def rank(database_url: str, redis_url: str) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url) as rank:
        rank.state["seasons"].clock = lambda: NOW
        yield rank


@pytest.fixture
async def board(pool: Pool) -> Board:
    return await put_board(pool, "hours", schedule="hourly")


async def put_season(pool: Pool, board: Board, starts: int, *, digest: str | None = None) -> None:
    """Write a season straight to Postgres; sealed, with the standings of `SEALED`, where it has a digest."""
    await pool.execute(
        "INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at, closed_at, sealed_at,"
        " total, digest)"
        " VALUES ($1, 1, $2::bigint, to_timestamp($2::bigint + 3600), to_timestamp($2::bigint + 4200),"
        " CASE WHEN $3::text IS NOT NULL THEN now() END, CASE WHEN $3 IS NOT NULL THEN now() END, 5, $3)",
        *(board.leaderboard_id, starts, digest),
    )
    if digest is not None:
        await put_entries(pool, board, SEALED, starts)
        await pool.execute(
            "INSERT INTO final_standings"
            " SELECT $1, 1, $2, row_number() OVER (ORDER BY sort_key, user_id), user_id,"
            " rank() OVER s, count(*) OVER (PARTITION BY sort_key), rank() OVER s - 1, score FROM entries"
            " WHERE leaderboard_id = $1 AND season = $2 WINDOW s AS (ORDER BY sort_key)",
            *(board.leaderboard_id, starts),
        )


async def hide(pool: Pool, *users: str) -> None:
    await pool.execute("UPDATE entries SET hidden = user_id = ANY ($1::text[])", users)


async def top(rank: Rank, season: str = "current", **query: Any) -> tuple[str, str, int, list[Row]]:
    page = await rank.get("/leaderboards/hours/top", season=season, **query)
    rows = [(entry["rank"], entry["user_id"], entry["ties"]) for entry in page["entries"]]
    return page["season"]["status"], page["source"], page["total"], rows


async def test_the_current_season_is_that_of_the_clock_and_begins_empty(
    rank: Rank, pool: Pool, board: Board
) -> None:
    await put_entries(pool, board, [("ada", 5)], THIS)
    page = await rank.get("/leaderboards/hours/top")
    ends_at = "2026-11-26T22:00:00Z"
    shown = {"id": "2026-11-26T21:00:00Z", "starts_at": "2026-11-26T21:00:00Z", "ends_at": ends_at}
    assert (page["season"], page["total"]) == ({**shown, "status": "open"}, 1)
    rank.state["seasons"].clock = lambda: THIS + HOUR
    page = await rank.get("/leaderboards/hours/top")
    assert (page["season"]["id"], page["total"], page["entries"]) == (ends_at, 0, [])
    assert await rank.code("/leaderboards/hours/users/ada") == "entry_not_found"


async def test_past_seasons_are_read_by_word_and_by_id(rank: Rank, pool: Pool, board: Board) -> None:
    for hours, user in ((0, "now"), (1, "before"), (30, "long-ago")):
        await put_season(pool, board, THIS - hours * HOUR)
        await put_entries(pool, board, [(user, 5)], THIS - hours * HOUR)
    assert (await top(rank, "previous"))[0::3] == ("closing", [(1, "before", 1)])
    assert (await top(rank, season_id(THIS - 30 * HOUR)))[3] == [(1, "long-ago", 1)]
    assert (await top(rank, season_id(THIS)))[0::3] == ("open", [(1, "now", 1)])
    for odd in ("all", season_id(THIS - 2 * HOUR), season_id(THIS + 1), "never"):
        assert await rank.code("/leaderboards/hours/top", season=odd) == "season_not_found"


async def test_a_sealed_season_is_read_as_it_was_stored(rank: Rank, pool: Pool, board: Board) -> None:
    await put_season(pool, board, THIS - HOUR, digest="d")
    path = "/leaderboards/hours"
    rows = [(1, "ada", 1), (2, "bob", 2), (2, "cat", 2), (4, "dan", 1), (5, "eve", 1)]
    assert await top(rank, "previous") == ("sealed", "sealed", 5, rows)
    assert (await top(rank, "previous", offset=2, limit=2))[3] == rows[2:4]
    dan = await rank.get(f"{path}/users/dan", season="previous")
    assert (dan["source"], dan["entry"]["rank"], dan["entry"]["percentile"]) == ("sealed", 4, 40.0)
    around = await rank.get(f"{path}/users/cat/around", season="previous", radius=1)
    assert [entry["user_id"] for entry in around["entries"]] == ["bob", "cat", "dan"]
    supposed = await rank.get(f"{path}/rank", season="previous", score=70)
    assert (supposed["rank"], supposed["ties"], supposed["total"]) == (2, 2, 5)
    spread = await rank.get(f"{path}/distribution", season="previous", buckets=2)
    assert [bucket["count"] for bucket in spread["buckets"]] == [2, 3]
    assert await rank.code(f"{path}/users/nobody", season="previous") == "entry_not_found"
    looked = await rank.client.post(
        f"/v1/games/demo{path}/lookup?season=previous", json={"user_ids": ["eve", "ada", "zoe"]}
    )
    assert [entry["user_id"] for entry in looked.json()["entries"]] == ["ada", "eve"]
    exported = await rank.client.get(f"/v1/games/demo{path}/export?season=previous")
    assert [orjson.loads(line)["rank"] for line in exported.text.splitlines()] == [1, 2, 2, 4, 5]


async def test_a_ban_hides_from_a_sealed_season_and_moves_nobody(
    rank: Rank, pool: Pool, board: Board
) -> None:
    await put_season(pool, board, THIS - HOUR, digest="d")
    await hide(pool, "ada", "cat")
    rows = [(2, "bob", 2), (4, "dan", 1), (5, "eve", 1)]
    assert await top(rank, "previous") == ("sealed", "sealed", 3, rows)
    for offset in range(4):
        assert (await top(rank, "previous", offset=offset, limit=2))[3] == rows[offset : offset + 2]
    assert await rank.code("/leaderboards/hours/users/ada", season="previous") == "entry_not_found"
    eve = await rank.get("/leaderboards/hours/users/eve/around", season="previous", radius=2)
    assert (eve["total"], len(eve["entries"])) == (3, 3)
    assert eve["entry"]["percentile"] == pytest.approx(100 / 3)


async def test_a_season_that_is_not_sealed_any_more_is_answered_as_any_other(
    rank: Rank, pool: Pool, board: Board
) -> None:
    await put_season(pool, board, THIS - HOUR, digest="d")
    await top(rank, "previous")
    await pool.execute("UPDATE seasons SET sealed_at = NULL")
    await pool.execute("UPDATE entries SET score = 60, sort_key = -60 WHERE user_id = 'ada'")
    page = await rank.get("/leaderboards/hours/top", season="previous")
    assert page["source"] != "sealed"
    assert [entry["user_id"] for entry in page["entries"]] == ["bob", "cat", "ada", "dan", "eve"]


async def test_seasons_are_listed_newest_first_by_pages(rank: Rank, pool: Pool, board: Board) -> None:
    await put_season(pool, board, THIS - HOUR)
    await put_entries(pool, board, [("ada", 1)], THIS - HOUR)
    await put_season(pool, board, THIS - 2 * HOUR, digest="abc")
    await put_season(pool, board, THIS + HOUR)  # whose first results were played a little ahead of the clock
    path = "/leaderboards/hours/seasons"
    page = await rank.get(path)
    told = [(s["status"], s["total"], s["digest"], s["starts_at"] == s["id"]) for s in page["seasons"]]
    assert told == [("open", 0, None, True), ("closing", 1, None, True), ("sealed", 5, "abc", True)]
    assert page["next_cursor"] is None
    first = await rank.get(path, limit=2)
    assert [s["id"] for s in first["seasons"]] == [s["id"] for s in page["seasons"][:2]]
    rest = await rank.get(path, limit=2, cursor=first["next_cursor"])
    assert (rest["seasons"], rest["next_cursor"]) == (page["seasons"][2:], None)


async def test_times_of_what_was_sealed_before_are_written_as_all_others(
    rank: Rank, pool: Pool, board: Board
) -> None:
    await put_season(pool, board, THIS - HOUR, digest="new")
    kept = '[{"total": 4, "digest": "%s", "sealed_at": "2026-11-26T%s"}]'
    first, second = kept % ("a", "20:00:00.5+00:00"), kept % ("b", "22:00:00+01:00")
    await pool.execute("UPDATE seasons SET previous_digests = $1::jsonb || $2::jsonb", first, second)
    assert (await rank.get("/leaderboards/hours/seasons"))["seasons"][1]["previous_digests"] == [
        {"digest": "a", "total": 4, "sealed_at": "2026-11-26T20:00:00.500000Z"},
        {"digest": "b", "total": 4, "sealed_at": "2026-11-26T21:00:00Z"},
    ]


async def test_a_leaderboard_tells_its_current_season(rank: Rank, pool: Pool, board: Board) -> None:
    await put_entries(pool, board, [("ada", 5)], THIS)
    described = await rank.get("/leaderboards/hours")
    assert (described["season"]["id"], described["total"]) == (season_id(THIS), 1)
    await pool.execute("INSERT INTO users (game_id, user_id) VALUES ($1, 'ada')", board.game_id)
    (entry,) = (await rank.get("/users/ada"))["entries"]
    assert (entry["season"], entry["rank"]) == (season_id(THIS), 1)


async def test_a_stream_tells_that_the_season_has_changed(rank: Rank, pool: Pool, board: Board) -> None:
    await put_entries(pool, board, [("ada", 5)], THIS)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    left = asyncio.Event()

    async def send(message: Any) -> None:
        heard.put_nowait(message["body"])

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    async def find() -> Any:
        return await rank.state["seasons"].find(board, "current")

    serving = asyncio.create_task(
        rank.state["live"].serve(("demo", "hours", "current", 10), find, "", b"", receive, send)
    )
    assert (await heard.get()).startswith(b"event: top\n")
    rank.state["seasons"].clock = lambda: THIS + HOUR
    rank.state["live"].notice_all()
    event = await asyncio.wait_for(heard.get(), 5)
    assert event.startswith(b"event: season\n")
    assert orjson.loads(event.split(b"data: ")[1])["season"]["id"] == season_id(THIS + HOUR)
    left.set()
    await serving
