"""The layer over raw ASGI: what comes in is bounded and typed, every error goes out as a problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from msgspec import Meta, Struct
from starlette.requests import ClientDisconnect

from shared.asgi import Call, Endpoint, Reply, read_body
from shared.errors import LeaderboardError, StoreUnavailable, invalid
from shared.names import MAX_BODY_BYTES


class Point(Struct, forbid_unknown_fields=True):
    x: Annotated[int, Meta(ge=0, le=9)]
    names: list[str] = []
    free: Any = None


class Page(Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    season: str = "current"


POINT = msgspec.json.Decoder(Point)
Ask = Callable[..., Awaitable[httpx.Response]]


async def echo_point(call: Call) -> Reply:
    point = await call.json(POINT)
    return Reply(200, msgspec.json.encode(point))


async def echo_page(call: Call) -> Reply:
    return Reply(200, msgspec.json.encode(call.query(Page)))


async def ask(
    handler: Callable[[Call], Awaitable[Reply]], method: str = "GET", query: str = "", **parts: Any
) -> httpx.Response:
    """Send one request to a handler."""
    transport = httpx.ASGITransport(Endpoint(handler), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, f"/{query}", **parts)


async def post(content: bytes | str, kind: str = "application/json") -> httpx.Response:
    return await ask(echo_point, "POST", content=content, headers={"content-type": kind})


def failing(error: BaseException) -> Callable[[Call], Awaitable[Reply]]:
    async def handler(call: Call) -> Reply:
        raise error

    return handler


async def test_a_body_is_decoded() -> None:
    reply = await post('{"x": 5, "names": ["ada"]}', "application/json; charset=utf-8")
    assert (reply.status_code, reply.json()) == (200, {"x": 5, "names": ["ada"], "free": None})


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ('{"x": 10}', 422, "x"),
        ('{"x": "5"}', 422, "x"),
        ('{"x": 5.5}', 422, "x"),
        ('{"x": true}', 422, "x"),
        ('{"x": 1, "names": ["a", 5]}', 422, "names[1]"),
        ('{"x": 1, "names": null}', 422, "names"),
        ('{"x": 1, "y": 2}', 422, "y"),
        ("{}", 422, "x"),
        ("[]", 422, ""),
        ("null", 422, ""),
        ("", 400, None),
        ("{", 400, None),
        ('{"x": 1} {}', 400, None),
        ('{"x": 1, "names": ["\ud800"]}'.encode("utf-8", "surrogatepass"), 400, None),
        ('{"x": 1, "free": ' + "[" * 10_000, 400, None),
        ('{"x": 1, "free": ' + "[" * 10_000 + "]" * 10_000 + "}", 400, None),
    ],
)
async def test_a_wrong_body_is_refused_by_name(body: bytes | str, status: int, path: str | None) -> None:
    reply = await post(body)
    assert (reply.status_code, reply.json()["code"]) == (status, "invalid_request")
    assert [error["path"] for error in reply.json().get("errors", [])] == ([] if path is None else [path])


@pytest.mark.parametrize("kind", ["text/plain", "", "application/jsonp", "application/x-www-form-urlencoded"])
async def test_a_body_of_another_kind_is_refused(kind: str) -> None:
    reply = await post('{"x": 5}', kind)
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


async def test_a_body_at_the_limit_passes_and_one_past_it_does_not() -> None:
    frame = len('{"x": 1, "names": [""]}')
    fits = '{"x": 1, "names": ["%s"]}' % ("a" * (MAX_BODY_BYTES - frame))
    assert (await post(fits)).status_code == 200
    reply = await post(fits + " ")
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
async def test_a_body_in_one_message_is_bounded(extra: int, fits: bool) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b" " * (MAX_BODY_BYTES + extra), "more_body": False}

    if fits:
        assert len(await read_body(receive)) == MAX_BODY_BYTES
    else:
        with pytest.raises(LeaderboardError, match="at most"):
            await read_body(receive)


async def test_a_body_in_pieces_is_bounded_too() -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b" " * (MAX_BODY_BYTES // 2)

    reply = await ask(echo_point, "POST", content=pieces(), headers={"content-type": "application/json"})
    assert reply.status_code == 413


async def test_a_body_in_pieces_is_put_together() -> None:
    async def pieces() -> Any:
        for piece in (b'{"x"', b": ", b"7}"):
            yield piece

    reply = await ask(echo_point, "POST", content=pieces(), headers={"content-type": "application/json"})
    assert reply.json()["x"] == 7


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"limit": 10, "season": "current"}),
        ("?limit=3&season=all", {"limit": 3, "season": "all"}),
        ("?season=2026-11-23T00%3A00%3A00Z", {"limit": 10, "season": "2026-11-23T00:00:00Z"}),
    ],
)
async def test_a_query_is_decoded(query: str, expected: dict[str, Any]) -> None:
    assert (await ask(echo_page, query=query)).json() == expected


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=101", "?limit=ten", "?limit=", "?limit=1&limit=2", "?page=2", "?season=%ff"]
)
async def test_a_wrong_query_is_refused(query: str) -> None:
    reply = await ask(echo_page, query=query)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


async def test_a_problem_says_all_that_rfc_9457_asks() -> None:
    reply = await ask(failing(invalid("x", "must be odd")), headers={"x-request-id": "r1"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json() == {
        "type": "urn:leaderboard:problem:invalid_request",
        "title": "The request breaks a rule",
        "status": 422,
        "code": "invalid_request",
        "detail": "x: must be odd",
        "request_id": "r1",
        "errors": [{"path": "x", "message": "must be odd"}],
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LeaderboardError("overloaded", "busy"), 503, "overloaded"),
        (StoreUnavailable("postgres://secret@host"), 503, "upstream_unavailable"),
        (TimeoutError(), 504, "deadline_exceeded"),
        (ZeroDivisionError("secret"), 500, "internal"),
    ],
)
async def test_every_error_becomes_a_problem_that_leaks_nothing(
    error: Exception, status: int, code: str
) -> None:
    reply = await ask(failing(error))
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert "secret" not in reply.text
    assert ("retry-after" in reply.headers) == (status == 503)


async def test_the_answer_to_head_has_no_body() -> None:
    reply = await ask(echo_page, "HEAD")
    assert reply.content == b""
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("2500", 2.5), ("", 10), ("-5", 10), ("nonsense", 10), ("99999999", 10), ("²", 10)],
)
async def test_the_gateway_s_deadline_holds(header: str, seconds: float) -> None:
    async def handler(call: Call) -> Reply:
        left = call.deadline - asyncio.get_running_loop().time()
        return Reply(200, json.dumps(left).encode())

    reply = await ask(handler, headers={b"x-deadline-ms": header.encode()})
    assert reply.json() == pytest.approx(seconds, abs=0.5)


async def test_a_caller_who_left_is_not_answered() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    await Endpoint(echo_point)({"type": "http", "method": "POST", "headers": headers}, receive, send)
    await Endpoint(failing(ClientDisconnect()))(
        {"type": "http", "method": "GET", "headers": []}, receive, send
    )
    assert sent == []
