"""What can be asked of rank_service, in what words."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeVar

from msgspec import Meta, Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import BaseRoute, Route

from rank_service.rules import View
from shared.asgi import JSON, Call, Endpoint, Handler, Reply
from shared.errors import LeaderboardError
from shared.ranking import Board

Season = Annotated[str, Meta(max_length=64)]


class SeasonQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of what concerns one season."""

    season: Season = "current"


class TopQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a page."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    season: Season = "current"


class AroundQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a neighbourhood."""

    radius: Annotated[int, Meta(ge=1, le=50)] = 5
    season: Season = "current"


async def entry(call: Call) -> Reply:
    """Answer one user's entry."""
    params = call.params
    state = call.state
    board: Board = await state["games"].board(params["game"], params["leaderboard"])
    rankings = state["rankings"]
    view: View = rankings.view(board, query(call, SeasonQuery).season)
    return Reply(200, await rankings.entry(view, params["user_id"], call.deadline))


async def top(call: Call) -> Reply:
    """Answer a page by offset, or 304 when the caller has it."""
    params = call.params
    state = call.state
    board: Board = await state["games"].board(params["game"], params["leaderboard"])
    asked = query(call, TopQuery)
    rankings = state["rankings"]
    view: View = rankings.view(board, asked.season)
    body = await rankings.top(view, asked.offset, asked.limit, call.deadline)
    etag = (b"etag", body.etag)
    known = call.header(b"if-none-match")
    if known is not None and matches(known, body.etag):
        return Reply(304, b"", [etag])
    return Reply(200, body.content, [JSON, etag])


async def around(call: Call) -> Reply:
    """Answer one user's entry and those around it."""
    params = call.params
    board: Board = await call.state["games"].board(params["game"], params["leaderboard"])
    asked = query(call, AroundQuery)
    rankings = call.state["rankings"]
    view: View = rankings.view(board, asked.season)
    return Reply(200, await rankings.around(view, params["user_id"], asked.radius, call.deadline))


async def healthz(_: Call) -> Reply:
    """Say that the process is alive."""
    return Reply(200, b'{"status":"ok"}')


async def readyz(call: Call) -> Reply:
    """Say whether reads can be answered: one of the two stores is enough."""
    await call.state["ready"]()
    return Reply(200, b'{"status":"ready"}')


async def metrics(_: Call) -> Reply:
    """Answer the metrics of this process in Prometheus' text format."""
    return Reply(200, generate_latest(), [(b"content-type", CONTENT_TYPE_LATEST.encode())])


async def nothing_here(_: Call) -> Reply:
    """Answer for every path that is not a route."""
    raise LeaderboardError("not_found", "there is nothing at this path")


async def not_this_way(call: Call) -> Reply:
    """Answer for a method a route does not have."""
    raise LeaderboardError("method_not_allowed", f"{call.scope['method']} is not allowed here")


Q = TypeVar("Q", bound=Struct)


def query(call: Call, shape: type[Q]) -> Q:
    """Decode the query string; the same few come again and again, so decoded ones are kept."""
    found: Q = _decoded(shape, call.scope["query_string"])
    return found


class _Text(NamedTuple):
    """As much of a call as `Call.query` reads."""

    scope: dict[str, bytes]


@lru_cache(maxsize=4_096)
def _decoded(shape: type[Any], text: bytes) -> Any:
    return Call.query(_Text({"query_string": text}), shape)  # type: ignore[arg-type]


def matches(known: bytes, etag: bytes) -> bool:
    """Say whether an `If-None-Match` header names `etag` (RFC 9110, weak comparison)."""
    bare = etag.removeprefix(b"W/")
    return known.strip() == b"*" or any(
        candidate.strip().removeprefix(b"W/") == bare for candidate in known.split(b",")
    )


class Methods:
    """The handlers of one path by method; any other method is a 405."""

    __slots__ = ("_table",)

    def __init__(self, table: dict[str, Handler]) -> None:
        self._table = {method: Endpoint(handler) for method, handler in table.items()}
        if "GET" in table:
            self._table["HEAD"] = self._table["GET"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await self._table.get(scope["method"], _NOT_THIS_WAY)(scope, receive, send)


_NOT_THIS_WAY = Endpoint(not_this_way)

BOARD = "/v1/games/{game}/leaderboards/{leaderboard}"


def routes() -> list[BaseRoute]:
    """Return the routes, the hot ones first."""
    return [
        _get(f"{BOARD}/users/{{user_id}}", entry),
        _get(f"{BOARD}/top", top),
        _get(f"{BOARD}/users/{{user_id}}/around", around),
        _get("/healthz", healthz),
        _get("/readyz", readyz),
        _get("/metrics", metrics),
        Route("/{path:path}", Endpoint(nothing_here)),
    ]


def _get(path: str, handler: Handler) -> Route:
    return Route(path, Methods({"GET": handler}))
