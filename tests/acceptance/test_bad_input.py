"""Bad input at every door: the right problem, the field and the rule named, nothing recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.stack import Stack

PROBLEM = {"type", "title", "status", "code", "detail", "request_id"}
ADA = {"user_id": "ada", "score": 1}


@pytest.fixture
async def game(api: httpx.AsyncClient) -> AsyncIterator[str]:
    name = f"bad-{uuid4().hex[:8]}"
    assert (await api.put(f"/v1/games/{name}", json={})).status_code == 201
    yield f"/v1/games/{name}"
    top = (await api.get(f"/v1/games/{name}/leaderboards/global/top")).json()
    assert (top["total"], top["entries"]) == (0, []), "a refused request left something behind"


def check(reply: httpx.Response, status: int, code: str, *paths: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    problem: dict[str, Any] = reply.json()
    assert (reply.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert set(problem) - {"errors"} == PROBLEM
    assert problem["request_id"]
    assert [error["path"] for error in problem.get("errors", [])] == list(paths), problem
    return problem


METADATA: list[Any] = [[], "x", 5, {"k": "x" * 1024}, {"nul": "\u0000"}]
SESSIONS: list[tuple[Any, str]] = [
    ([], ""),
    ("x", ""),
    ({}, "results"),
    ({"results": []}, "results"),
    ({"results": {}}, "results"),
    ({"results": [{"user_id": f"u{i}", "score": 1} for i in range(1001)]}, "results"),
    ({"results": [ADA], "extra": 1}, "extra"),
    ({"results": [{**ADA, "extra": 1}]}, "results[0].extra"),
    ({"results": [{"user_id": "ada"}]}, "results[0].score"),
    ({"results": [{"score": 1}]}, "results[0].user_id"),
    ({"results": [ADA, {"user_id": "bob", "score": 2}, {**ADA, "score": 3}]}, "results[2].user_id"),
    *[
        ({"results": [{"user_id": user, "score": 1}]}, "results[0].user_id")
        for user in ("", "me", "-a", "a b", "ä", "a" * 65, "a\n", "a/b", 5, None)
    ],
    *[
        ({"results": [{"user_id": "ada", "score": score}]}, "results[0].score")
        for score in (1.5, 1.0, "1", True, None, 2**53, -(2**53), 10**30, [1])
    ],
    *[
        ({"results": [ADA], "session_id": value}, "session_id")
        for value in ("", "0199", "not-a-uuid", 5, "ffffffff-ffff-7fff-bfff-ffffffffffff")
    ],
    *[
        ({"results": [ADA], "played_at": value}, "played_at")
        for value in (
            "",
            "yesterday",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "1999-12-31T23:59:59Z",
            "2999-01-01T00:00:00Z",
            5,
        )
    ],
    *[({"results": [ADA], "mode": value}, "mode") for value in ("", "a b", "a" * 65, 5)],
    *[({"results": [{**ADA, "metadata": value}]}, "results[0].metadata") for value in METADATA],
]


@pytest.mark.parametrize(("body", "path"), SESSIONS, ids=lambda value: repr(value)[:40])
async def test_a_wrong_session_names_the_field(
    api: httpx.AsyncClient, game: str, body: Any, path: str
) -> None:
    problem = check(await api.post(f"{game}/sessions", json=body), 422, "invalid_request", path)
    assert problem["errors"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"results": [}', b"\xff\xfe", b'{"a":1}{}', b"[" * 100_000, b'{"x": NaN}'],
)
async def test_what_is_not_json_is_a_400(api: httpx.AsyncClient, game: str, body: bytes) -> None:
    reply = await api.post(f"{game}/sessions", content=body, headers={"content-type": "application/json"})
    check(reply, 400, "invalid_request")


async def test_metadata_nested_without_end_is_refused(api: httpx.AsyncClient, game: str) -> None:
    nested = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    body = b'{"results":[{"user_id":"ada","score":1,"metadata":' + nested + b"}]}"
    reply = await api.post(f"{game}/sessions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)


async def test_a_body_must_say_it_is_json_and_be_at_most_2_mib(api: httpx.AsyncClient, game: str) -> None:
    reply = await api.post(f"{game}/sessions", content=b"{}", headers={"content-type": "text/plain"})
    check(reply, 415, "unsupported_media_type")
    for content in (b" " * (2 * 1024 * 1024 + 1), [b" " * 1024] * 2049):
        sent = (chunk for chunk in content) if isinstance(content, list) else content
        reply = await api.post(
            f"{game}/sessions",
            content=stream(sent) if isinstance(content, list) else content,
            headers={"content-type": "application/json"},
        )
        check(reply, 413, "body_too_large")


async def stream(chunks: Any) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_checks_come_in_order_key_scope_existence_body(stack: Stack, game: str) -> None:
    huge = b" " * (2 * 1024 * 1024 + 1)
    for content in (b"nonsense", huge):
        async with stack.client(None) as anyone:
            reply = await anyone.post("/v1/games/nope/sessions", content=content)
            check(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"].startswith("Bearer")
        async with stack.client("READ_KEY") as reader:
            check(await reader.post("/v1/games/nope/sessions", content=content), 403, "forbidden")
        async with stack.client("SUBMIT_KEY") as server:
            check(await server.post("/v1/games/nope/sessions", content=content), 404, "game_not_found")
            check(await server.put(f"{game}/leaderboards/x", content=content), 403, "forbidden")


@pytest.mark.parametrize(
    "key", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer " + "x" * 5000]
)
async def test_a_wrong_key_is_a_401(stack: Stack, game: str, key: str) -> None:
    async with stack.client(None) as anyone:
        reply = await anyone.get(f"{game}/leaderboards/global/top", headers={"authorization": key})
    assert reply.status_code in (401, 431)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/games/nope/leaderboards/global/top", "game_not_found"),
        ("/v1/games/NOPE/leaderboards/global/top", "game_not_found"),
        ("{game}/leaderboards/nope/top", "leaderboard_not_found"),
        ("{game}/leaderboards/%00/top", "leaderboard_not_found"),
        ("{game}/leaderboards/global/users/nobody", "entry_not_found"),
        ("{game}/leaderboards/global/users/b%20d", "entry_not_found"),
        ("{game}/leaderboards/global/users/nobody/around", "entry_not_found"),
        ("{game}/leaderboards/global/top?season=1999-01-01T00:00:00Z", "season_not_found"),
        ("{game}/leaderboards/global/top?season=previous", "season_not_found"),
        ("{game}/sessions/0199aaaa-0000-7000-8000-000000000001", "session_not_found"),
        ("{game}/sessions/nonsense", "session_not_found"),
        ("{game}/users/nobody", "user_not_found"),
        ("{game}/nothing", "not_found"),
        ("/v1/nothing", "not_found"),
    ],
)
async def test_what_is_not_there_is_named(api: httpx.AsyncClient, game: str, path: str, code: str) -> None:
    check(await api.get(path.format(game=game)), 404, code)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("top?limit=0", "limit"),
        ("top?limit=101", "limit"),
        ("top?limit=x", "limit"),
        ("top?limit=", "limit"),
        ("top?offset=-1", "offset"),
        ("top?limits=5", "limits"),
        ("users/ada/around?radius=0", "radius"),
        ("users/ada/around?radius=51", "radius"),
        ("rank", "score"),
        ("rank?score=1.5", "score"),
        ("rank?score=9007199254740992", "score"),
        ("distribution?buckets=0", "buckets"),
        ("top?limit=1&limit=2", "query"),
    ],
)
async def test_a_wrong_parameter_is_named(api: httpx.AsyncClient, game: str, query: str, path: str) -> None:
    check(await api.get(f"{game}/leaderboards/global/{query}"), 422, "invalid_request", path)


@pytest.mark.parametrize("cursor", ["%00", "A", "a%20b", "%F0%9F%8F%86"])
async def test_a_cursor_that_is_no_game_is_refused(api: httpx.AsyncClient, cursor: str) -> None:
    check(await api.get(f"/v1/games?cursor={cursor}"), 422, "invalid_request", "cursor")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"operator": "max"}, "operator"),
        ({"order": "up"}, "order"),
        ({"ties": "none"}, "ties"),
        ({"modes": []}, "modes"),
        ({"modes": ["a b"]}, "modes[0]"),
        ({"min_score": 5, "max_score": 1}, "min_score"),
        ({"max_score": 2**53}, "max_score"),
        ({"title": ""}, "title"),
        ({"title": "\u0000"}, "title"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_definition_names_the_field(
    api: httpx.AsyncClient, game: str, body: dict[str, Any], path: str
) -> None:
    check(await api.put(f"{game}/leaderboards/new", json=body), 422, "invalid_request", path)
    check(await api.get(f"{game}/leaderboards/new/top"), 404, "leaderboard_not_found")


async def test_ids_that_break_their_rule_cannot_be_made(api: httpx.AsyncClient, game: str) -> None:
    check(await api.put("/v1/games/UPPER", json={}), 422, "invalid_request", "game")
    check(await api.put(f"{game}/leaderboards/-x", json={}), 422, "invalid_request", "leaderboard")
    check(await api.put(f"{game}/users/a%20b", json={}), 422, "invalid_request", "user_id")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"display_name": ""}, "display_name"),
        ({"display_name": "a" * 65}, "display_name"),
        ({"display_name": "a\u0000"}, "display_name"),
        ({"country": "gb"}, "country"),
        ({"country": "GBR"}, "country"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"nick": "x"}, "nick"),
    ],
)
async def test_a_wrong_profile_names_the_field(
    api: httpx.AsyncClient, game: str, body: dict[str, Any], path: str
) -> None:
    check(await api.put(f"{game}/users/ada", json=body), 422, "invalid_request", path)


async def test_a_method_a_path_does_not_have_is_a_405(api: httpx.AsyncClient, game: str) -> None:
    reply = await api.delete(f"{game}/sessions")
    check(reply, 405, "method_not_allowed")
    assert "POST" in reply.headers["allow"]


async def test_a_batch_tells_each_session_apart(api: httpx.AsyncClient) -> None:
    game = f"/v1/games/batch-{uuid4().hex[:8]}"
    await api.put(game, json={})
    known = {"session_id": str(uuid4()), "results": [ADA]}
    await api.post(f"{game}/sessions", json=known)
    sessions = [
        {"results": [{"user_id": "bob", "score": 5}]},
        known,
        {**known, "results": [{**ADA, "score": 2}]},
        {"results": [{**ADA, "score": -1}]},
        {"results": [{"user_id": "me", "score": 1}]},
    ]
    reply = await api.post(f"{game}/sessions/batch", json={"sessions": sessions})
    outcomes = reply.json()["sessions"]
    assert reply.status_code == 200
    assert [outcome["status"] for outcome in outcomes] == [201, 200, 409, 422, 422]
    codes = ["session_conflict", "score_out_of_bounds", "invalid_request"]
    assert [outcome["code"] for outcome in outcomes[2:]] == codes
    assert outcomes[0]["results"][0]["entries"][0]["rank"] == 1
    assert outcomes[4]["errors"][0]["path"] == "sessions[4].results[0].user_id"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "sessions"),
        ({"sessions": []}, "sessions"),
        ({"sessions": [{"results": [{"user_id": f"u{i}", "score": 1} for i in range(501)]}] * 2}, "sessions"),
    ],
    ids=["none", "empty", "too many"],
)
async def test_a_wrong_batch_is_refused_whole(
    api: httpx.AsyncClient, game: str, body: Any, path: str
) -> None:
    reply = await api.post(
        f"{game}/sessions/batch", content=orjson.dumps(body), headers={"content-type": "application/json"}
    )
    check(reply, 422, "invalid_request", path)
