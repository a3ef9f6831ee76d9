"""What every read answers, and how bad questions are refused."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from shared.messages import Order
from shared.names import MAX_SCORE
from shared.postgres import Pool
from tests import model
from tests.rank import Rank, put_board, put_entries, rank_service
from tests.score import Score, score_service

BOARD = "/leaderboards/global"


@pytest.fixture
async def rank(database_url: str, redis_url: str) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url) as rank:
        yield rank


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        yield score


async def lookup(rank: Rank, body: Any, **options: Any) -> Any:
    kind = {"content-type": options.pop("kind", "application/json")}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return await rank.client.post(f"/v1/games/demo{BOARD}/lookup", content=content, headers=kind)


async def test_an_empty_leaderboard_has_an_empty_top(pool: Pool, rank: Rank) -> None:
    await put_board(pool)
    for _ in range(2):  # from Postgres, then from the index
        page = await rank.get(f"{BOARD}/top")
        assert (page["total"], page["entries"]) == (0, [])
        assert page["season"] == {"id": "all", "starts_at": None, "ends_at": None, "status": "open"}
        assert (await rank.get(f"{BOARD}/rank", score=5))["rank"] == 1
        assert (await rank.get(f"{BOARD}/distribution"))["buckets"] == []
        await rank.ready()


async def test_a_leaderboard_with_one_entry(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", MAX_SCORE)])
    entry = {"rank": 1, "user_id": "ada", "display_name": None, "country": None}
    entry |= {"score": MAX_SCORE, "ties": 1}
    for _ in range(2):
        around = await rank.get(f"{BOARD}/users/ada/around", radius=50)
        assert around["entries"] == [entry]
        assert around["entry"] == {**entry, "percentile": 100.0, "rank_change": None}
        spread = (await rank.get(f"{BOARD}/distribution", buckets=100))["buckets"]
        assert spread == [{"from": MAX_SCORE, "to": MAX_SCORE, "count": 1}]
        await rank.ready()


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
async def test_around_inside_a_long_tie(pool: Pool, rank: Rank, ties: str) -> None:
    board = await put_board(pool, ties=ties)
    scores = [("best", 9, 0), *((f"u{i:03}", 5, i) for i in range(300)), ("worst", 1, 0)]
    await put_entries(pool, board, scores)
    for _ in range(2):
        around = await rank.get(f"{BOARD}/users/u150/around", radius=3)
        assert [entry["user_id"] for entry in around["entries"]] == [f"u{i}" for i in range(147, 154)]
        ranks = [entry["rank"] for entry in around["entries"]]
        assert ranks == ([*range(149, 156)] if ties == "first" else [2] * 7)
        assert {entry["ties"] for entry in around["entries"]} == {300}
        last = (await rank.get(f"{BOARD}/users/worst/around", radius=1))["entries"]
        assert last[-1]["rank"] == {"competition": 302, "dense": 3, "first": 302}[ties]
        await rank.ready()


async def test_scores_at_the_ends_of_the_range_stay_exact(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    scores = [("a", MAX_SCORE), ("b", MAX_SCORE - 1), ("c", -MAX_SCORE), ("d", 1 - MAX_SCORE)]
    await put_entries(pool, board, scores)
    for _ in range(2):
        page = await rank.get(f"{BOARD}/top")
        assert [(entry["user_id"], entry["score"]) for entry in page["entries"]] == [
            *scores[:2],
            scores[3],
            scores[2],
        ]
        spread = (await rank.get(f"{BOARD}/distribution", buckets=2))["buckets"]
        assert [bucket["count"] for bucket in spread] == [2, 2]
        assert (spread[0]["from"], spread[-1]["to"]) == (-MAX_SCORE, MAX_SCORE)
        await rank.ready()


@pytest.mark.parametrize(("order", "shards"), [("desc", 1), ("asc", 1), ("desc", 3)])
async def test_scores_wherever_they_are_are_counted_in_the_ranges_of_the_model(
    database_url: str, pool: Pool, rank: Rank, rng: random.Random, order: Order, shards: int
) -> None:
    board = await put_board(pool, order=order, index_shards=shards)
    scores = [*(rng.randint(-MAX_SCORE, MAX_SCORE) for _ in range(200)), MAX_SCORE, -MAX_SCORE]
    await put_entries(pool, board, ((f"u{n}", score) for n, score in enumerate(scores)))
    await rank.ready()
    async with rank_service(database_url, "redis://127.0.0.1:1/0") as without:
        for service, source in ((rank, "index"), (without, "database")):
            for buckets in (1, 2, 3, 7, 100, rng.randint(4, 99)):
                told = await service.get(f"{BOARD}/distribution", buckets=buckets)
                ranges = [(each["from"], each["to"], each["count"]) for each in told["buckets"]]
                assert told["source"] == source
                assert ranges == model.distribution(model.Board(order=order), scores, buckets)


@pytest.mark.parametrize(
    "path",
    ["top", "users/ada", "users/ada/around", "rank?score=1", "distribution", "seasons", "stream", "export"],
)
async def test_what_does_not_exist_is_said_before_what_is_wrong(pool: Pool, rank: Rank, path: str) -> None:
    wrong = path + ("&" if "?" in path else "?") + "limit=x"
    assert await rank.code(f"{BOARD}/{wrong}") == "game_not_found"
    await put_board(pool, "other")
    assert await rank.code(f"{BOARD}/{wrong}") == "leaderboard_not_found"
    assert await rank.code(f"/leaderboards/NOT%20A%20BOARD/{wrong}") == "leaderboard_not_found"
    await put_board(pool)
    assert await rank.code(f"{BOARD}/{wrong}") == "invalid_request"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("top?limit=0", "limit"),
        ("top?limit=101", "limit"),
        ("top?limit=ten", "limit"),
        ("top?limit=1.5", "limit"),
        ("top?limit=", "limit"),
        ("top?offset=-1", "offset"),
        ("top?offset=1000000001", "offset"),
        ("top?limit=1&limit=2", "query"),
        ("top?page=2", "page"),
        ("users/ada/around?radius=0", "radius"),
        ("users/ada/around?radius=51", "radius"),
        ("users/ada?limit=3", "limit"),
        ("rank", "score"),
        ("rank?score=1.5", "score"),
        ("rank?score=9007199254740992", "score"),
        ("rank?score=-9007199254740992", "score"),
        ("distribution?buckets=0", "buckets"),
        ("distribution?buckets=101", "buckets"),
        ("stream?limit=0", "limit"),
        ("stream?user_id=me", "user_id"),
        ("seasons?season=all", "season"),
    ],
)
async def test_a_wrong_parameter_is_named(pool: Pool, rank: Rank, path: str, field: str) -> None:
    await put_board(pool)
    reply = await rank.client.get(f"/v1/games/demo{BOARD}/{path}")
    assert reply.status_code == 422, reply.text
    assert reply.json()["errors"][0]["path"] == field


@pytest.mark.parametrize("season", ["previous", "2020-01-01T00:00:00Z", "x" * 64])
@pytest.mark.parametrize("path", ["top", "users/ada", "users/ada/around", "distribution", "stream", "export"])
async def test_a_season_that_never_was(pool: Pool, rank: Rank, path: str, season: str) -> None:
    await put_board(pool)
    assert await rank.code(f"{BOARD}/{path}", season=season) == "season_not_found"


@pytest.mark.parametrize("user", ["nobody", "me", "-x", "x" * 65, "a%20b", "%00", "%F0%9F%8E%AE", "a%2Fb"])
async def test_who_is_not_ranked_has_no_entry(pool: Pool, rank: Rank, user: str) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5)])
    expected = "not_found" if "%2F" in user else "entry_not_found"
    for _ in range(2):
        assert await rank.code(f"{BOARD}/users/{user}") == expected
        await rank.ready()


async def test_hidden_and_deleted_entries_are_not_seen(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5), ("bob", 4), ("cid", 3)])
    await pool.execute("UPDATE entries SET hidden = true WHERE user_id = 'ada'")
    await pool.execute("UPDATE entries SET deleted_at = now() WHERE user_id = 'bob'")
    for _ in range(2):
        assert (await rank.get(f"{BOARD}/users/cid"))["entry"]["rank"] == 1
        assert await rank.code(f"{BOARD}/users/ada") == "entry_not_found"
        assert await rank.code(f"{BOARD}/users/bob/around") == "entry_not_found"
        assert (await rank.get(f"{BOARD}/top"))["total"] == 1
        await rank.ready()


async def test_a_leaderboard_being_built_is_busy(pool: Pool, rank: Rank) -> None:
    await put_board(pool, status="building")
    reply = await rank.client.get(f"/v1/games/demo{BOARD}/top")
    assert (reply.status_code, reply.json()["code"]) == (503, "leaderboard_building")
    assert reply.headers["retry-after"] == "1"
    described = await rank.get(BOARD)
    assert (described["status"], described["total"]) == ("building", None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user_ids": []}, 422),
        ({"user_ids": [f"u{i}" for i in range(201)]}, 422),
        ({"user_ids": ["me"]}, 422),
        ({"user_ids": [7]}, 422),
        ({"user_ids": ["a"], "x": 1}, 422),
        ({}, 422),
        (b"{", 400),
        (b"\xff", 400),
    ],
)
async def test_a_wrong_lookup_is_refused(pool: Pool, rank: Rank, body: Any, status: int) -> None:
    await put_board(pool)
    assert (await lookup(rank, body)).status_code == status


async def test_a_lookup_of_two_hundred(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [(f"u{i}", i) for i in range(300)])
    users = [f"u{i}" for i in range(200, 400)]
    for _ in range(2):
        answer = (await lookup(rank, {"user_ids": users})).json()
        assert [entry["user_id"] for entry in answer["entries"]] == [f"u{i}" for i in range(299, 199, -1)]
        assert [entry["rank"] for entry in answer["entries"]] == [*range(1, 101)]
        assert answer["missing"] == [f"u{i}" for i in range(300, 400)]
        await rank.ready()


async def test_a_lookup_is_json_and_counts_each_user_once(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5)])
    assert (await lookup(rank, b"user_ids=a", kind="text/plain")).status_code == 415
    answer = (await lookup(rank, {"user_ids": ["ada", "zoe", "ada", "zoe"]})).json()
    assert [entry["user_id"] for entry in answer["entries"]] == ["ada"]
    assert answer["missing"] == ["zoe"]


async def test_an_unchanged_top_is_not_sent_again(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5)])
    await rank.ready()
    path = f"/v1/games/demo{BOARD}/top"
    first = await rank.client.get(path)
    again = await rank.client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-type" not in again.headers
    other = await rank.client.get(path, headers={"if-none-match": 'W/"other"'})
    assert other.status_code == 200


async def test_the_validator_changes_with_anything_on_the_page(score: Score, rank: Rank) -> None:
    await score.define()
    path = f"/v1/games/demo{BOARD}/top?limit=1"
    await score.post(("ada", 5))
    await rank.ready()
    seen = {(await rank.client.get(path)).headers["etag"]}
    for change in (("ada", 1), ("bob", 1), ("cid", 6)):  # a score, the total, a tie at the edge
        await score.post(change)
        seen.add((await rank.client.get(path)).headers["etag"])
    assert len(seen) == 4


@pytest.mark.parametrize(("method", "path"), [("POST", "/top"), ("GET", "/lookup"), ("DELETE", "")])
async def test_a_method_that_is_not_offered(pool: Pool, rank: Rank, method: str, path: str) -> None:
    reply = await rank.client.request(method, f"/v1/games/demo{BOARD}{path}")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/games/demo/leaderboards/x/y", "/v1/games/demo/"])
async def test_a_path_that_leads_nowhere(rank: Rank, path: str) -> None:
    reply = await rank.client.get(path)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_a_head_has_the_length_of_its_get(pool: Pool, rank: Rank) -> None:
    await put_board(pool)
    reply = await rank.client.head(f"/v1/games/demo{BOARD}/top")
    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["content-length"]) > 100


async def test_leaderboards_are_described(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5), ("bob", 4)])
    await put_board(pool, "asc", order="asc", ties="first")
    found = (await rank.get("/leaderboards"))["leaderboards"]
    assert [(each["leaderboard"], each["order"], each["total"]) for each in found] == [
        ("asc", "asc", 0),
        ("global", "desc", 2),
    ]
    assert await rank.get(BOARD) == found[1]
    assert found[1]["season"]["id"] == "all"
    seasons = (await rank.get(f"{BOARD}/seasons"))["seasons"]
    assert seasons == [{**found[1]["season"], "total": 2, "digest": None}]


async def test_a_profile_has_all_entries(pool: Pool, score: Score, rank: Rank) -> None:
    await score.define(fast={"operator": "best", "order": "asc"}, empty={"modes": ["ranked"]})
    await score.post(("ada", 5), ("bob", 7))
    profile = await rank.get("/users/ada")
    assert profile.pop("entries") == [
        {"leaderboard": "fast", "season": "all", "rank": 1, "score": 5, "ties": 1, "total": 2},
        {"leaderboard": "global", "season": "all", "rank": 2, "score": 5, "ties": 1, "total": 2},
    ]
    assert profile == {"user_id": "ada", "display_name": None, "country": None, "avatar_url": None}
    assert await rank.code("/users/zoe") == "user_not_found"
    assert await rank.code("/users/a%20b") == "user_not_found"


async def test_users_are_found_by_id_and_name(pool: Pool, rank: Rank) -> None:
    game_id = (await put_board(pool)).game_id
    names = {"ada": "Zora", "bob": "adam", "Ada2": None, "cid": "100%_A", "ad": "ADELE"}
    for user_id, name in names.items():
        await pool.execute("INSERT INTO users VALUES ($1, $2, $3)", game_id, user_id, name)

    async def found(text: str, **more: int) -> list[str]:
        users = (await rank.get("/users", search=text, **more))["users"]
        return [user["user_id"] for user in users]

    assert await found("ada") == ["ada", "bob"]
    assert await found("AD") == ["ad", "bob"]
    assert await found("ad", limit=1) == ["ad"]
    assert await found("100%_") == ["cid"]
    assert await found("%") == []
    assert await rank.code("/users") == "invalid_request"
    assert await rank.code("/users", search="") == "invalid_request"
    assert await rank.code("/users", search="a\0") == "invalid_request"


async def test_a_history_is_paged_newest_first(score: Score, rank: Rank) -> None:
    await score.define()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(hours=i // 2) for i in range(7)]  # pairs share a moment
    for i, moment in enumerate(moments):
        await score.post(("ada", i), mode="ranked", played_at=moment.isoformat())
    pages, cursor = [], None
    while True:
        page = await rank.get("/users/ada/sessions", limit=3, **({"cursor": cursor} if cursor else {}))
        pages.append(page["sessions"])
        if (cursor := page["next_cursor"]) is None:
            break
    assert [len(page) for page in pages] == [3, 3, 1]
    sessions = [session for page in pages for session in page]
    assert sorted(session["score"] for session in sessions) == [*range(7)]
    keys = [(datetime.fromisoformat(s["played_at"]), s["session_id"]) for s in sessions]
    assert keys == sorted(keys, reverse=True)
    assert {key: sessions[0][key] for key in ("mode", "metadata", "voided")} == {
        "mode": "ranked",
        "metadata": None,
        "voided": False,
    }


async def test_a_history_of_nobody_and_a_wrong_cursor(score: Score, rank: Rank) -> None:
    await score.define()
    await score.post(("ada", 1))
    assert await rank.code("/users/zoe/sessions") == "user_not_found"
    assert await rank.code("/users/ada/sessions", cursor="x") == "invalid_request"
    assert await rank.code("/users/ada/sessions", limit=101) == "invalid_request"


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
async def test_an_export_is_the_whole_standings(pool: Pool, rank: Rank, ties: str) -> None:
    board = await put_board(pool, ties=ties)
    await put_entries(pool, board, [(f"u{i:04}", i % 700, i) for i in range(2500)])
    await pool.execute("UPDATE entries SET hidden = true WHERE user_id = 'u0699'")
    await pool.execute("INSERT INTO users VALUES ($1, 'u0001', 'Ünö', 'GB')", board.game_id)
    reply = await rank.client.get(f"/v1/games/demo{BOARD}/export")
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in reply.content.splitlines()]
    await rank.ready()
    pages = [await rank.get(f"{BOARD}/top", limit=100, offset=offset) for offset in range(0, 2500, 100)]
    assert lines == [entry for page in pages for entry in page["entries"]]
    assert len(lines) == 2499


async def test_health_and_metrics(rank: Rank) -> None:
    assert (await rank.client.get("/healthz")).status_code == 200
    assert (await rank.client.get("/readyz")).status_code == 200
    assert "leaderboard_rank_questions_total" in (await rank.client.get("/metrics")).text
