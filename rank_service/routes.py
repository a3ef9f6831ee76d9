"""What can be asked of rank_service, in what words."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send

from rank_service.envelopes import Body
from rank_service.live import Live
from rank_service.pages import page_reply
from rank_service.rules import View
from rank_service.seasons import Seasons
from rank_service.service import Rankings
from rank_service.shortcuts import ShortCuts
from rank_service.standings import Standings
from rank_service.users import Users
from shared.asgi import Call, Endpoint, Headers, Reply, Steps, Stream
from shared.boards import Game, Games
from shared.cursors import position_of
from shared.direct import Direct
from shared.messages import Request
from shared.names import Score, UserId
from shared.ranking import Board
from shared.routing import Methods, common_routes, route

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


class HistoryQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of daily ranks."""

    days: Annotated[int, Meta(ge=1, le=400)] = 30
    season: Season = "current"


class WhatIfQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of the rank a score would have."""

    score: Score
    season: Season = "current"


class SpreadQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a distribution."""

    buckets: Annotated[int, Meta(ge=1, le=100)] = 20
    season: Season = "current"


class SeasonsQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of the list of seasons."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Season = ""


class NoQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """No query at all."""


class SearchQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a search for users."""

    search: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[^\x00]*\Z")]
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class SessionsQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a user's history."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(max_length=64)] = ""


class StreamQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a stream."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    user_id: UserId | Literal[""] = ""
    season: Season = "current"


class LookupIn(Request, frozen=True):
    """The users whose entries are asked for."""

    user_ids: Annotated[tuple[UserId, ...], Meta(min_length=1, max_length=200)]


EVENT_STREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
NDJSON: Headers = [(b"content-type", b"application/x-ndjson")]

encode = msgspec.json.Encoder().encode
_lookup = msgspec.json.Decoder(LookupIn)


async def entry(call: Call) -> Reply:
    """Answer one user's entry."""
    asked = await _view(call, await _board(call), call.query(SeasonQuery).season)
    return Reply(200, await call.state["rankings"].entry(asked, call.params["user_id"], call.deadline))


async def top(call: Call) -> Reply:
    """Answer a page by offset, or 304 when the caller has it."""
    board = await _board(call)
    wanted = call.query(TopQuery)
    asked = await _view(call, board, wanted.season)
    page: Body = await call.state["pages"].top(asked, wanted.offset, wanted.limit, call.deadline)
    return page_reply(page, call.header(b"if-none-match"))


async def around(call: Call) -> Reply:
    """Answer one user's entry and those around it."""
    board = await _board(call)
    wanted = call.query(AroundQuery)
    asked = await _view(call, board, wanted.season)
    rankings: Rankings = call.state["rankings"]
    return Reply(200, await rankings.around(asked, call.params["user_id"], wanted.radius, call.deadline))


async def history(call: Call) -> Reply:
    """Answer where one user stood day by day."""
    board = await _board(call)
    wanted = call.query(HistoryQuery)
    asked = await _view(call, board, wanted.season)
    rankings: Rankings = call.state["rankings"]
    found = await rankings.history(asked, call.params["user_id"], wanted.days, call.deadline)
    return Reply(200, encode(found))


async def lookup(call: Call) -> Reply:
    """Answer the entries of up to 200 users."""
    board = await _board(call)
    asked = await _view(call, board, call.query(SeasonQuery).season)
    body = await call.json(_lookup)
    return Reply(200, await call.state["rankings"].lookup(asked, body.user_ids, call.deadline))


async def what_if(call: Call) -> Reply:
    """Answer the rank a score would have."""
    board = await _board(call)
    wanted = call.query(WhatIfQuery)
    asked = await _view(call, board, wanted.season)
    return Reply(200, await call.state["rankings"].what_if(asked, wanted.score, call.deadline))


async def distribution(call: Call) -> Reply:
    """Answer a histogram of scores."""
    board = await _board(call)
    wanted = call.query(SpreadQuery)
    asked = await _view(call, board, wanted.season)
    return Reply(200, await call.state["rankings"].distribution(asked, wanted.buckets, call.deadline))


async def list_seasons(call: Call) -> Reply:
    """Answer the seasons of a leaderboard, newest first."""
    board = await _board(call)
    wanted = call.query(SeasonsQuery)
    asked = await _view(call, board, "current")
    catalogue = call.state["catalogue"]
    return Reply(200, await catalogue.seasons(asked, wanted.cursor, wanted.limit, call.deadline))


async def list_leaderboards(call: Call) -> Reply:
    """Describe every leaderboard of a game."""
    game = await _game(call)
    call.query(NoQuery)
    return Reply(200, encode(await call.state["catalogue"].list(game, call.deadline)))


async def leaderboard(call: Call) -> Reply:
    """Describe one leaderboard."""
    board = await _board(call)
    call.query(NoQuery)
    return Reply(200, encode(await call.state["catalogue"].describe(board, call.deadline)))


async def search_users(call: Call) -> Reply:
    """Find users by the beginning of their id or display name."""
    game = await _game(call)
    wanted = call.query(SearchQuery)
    return Reply(200, encode(await call.state["users"].search(game, wanted.search, wanted.limit)))


async def user(call: Call) -> Reply:
    """Answer a profile with all entries."""
    game = await _game(call)
    call.query(NoQuery)
    return Reply(200, encode(await call.state["users"].get(game, call.params["user_id"], call.deadline)))


async def user_sessions(call: Call) -> Reply:
    """Answer a page of a user's history."""
    game = await _game(call)
    wanted = call.query(SessionsQuery)
    after = position_of(wanted.cursor) if wanted.cursor else None
    users: Users = call.state["users"]
    return Reply(200, encode(await users.sessions(game, call.params["user_id"], after, wanted.limit)))


async def stream(call: Call) -> Stream:
    """Send the page, and one user's entry, whenever they change (Server-Sent Events)."""
    params, state = call.params, call.state
    board = await _board(call)
    wanted = call.query(StreamQuery)
    await _view(call, board, wanted.season)
    live: Live = state["live"]
    live.check()

    async def find() -> View:
        games: Games = state["games"]
        seasons: Seasons = state["seasons"]
        return await seasons.find(await games.board(params["game"], params["leaderboard"]), wanted.season)

    key = (params["game"], params["leaderboard"], wanted.season, wanted.limit)
    seen = call.header(b"last-event-id") or b""

    return Stream(EVENT_STREAM, partial(live.serve, key, find, wanted.user_id, seen))


async def export(call: Call) -> Stream:
    """Send the whole standings, an entry a line."""
    board = await _board(call)
    wanted = call.query(SeasonQuery)
    asked = await _view(call, board, wanted.season)
    standings: Standings = call.state["standings"]
    lines = standings.open(asked)

    async def run(_: Receive, send: Send) -> None:
        async with lines as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return Stream(NDJSON, run)


async def _game(call: Call) -> Game:
    games: Games = call.state["games"]
    return await games.get(call.params["game"])


async def _board(call: Call) -> Board:
    """Return the leaderboard of the path: existence is checked before anything else is read."""
    params = call.params
    games: Games = call.state["games"]
    return await games.board(params["game"], params["leaderboard"])


async def _view(call: Call, board: Board, season: str) -> View:
    seasons: Seasons = call.state["seasons"]
    return await seasons.find(board, season)


def short_entry(call: Call) -> Steps:
    """Answer one user's entry in steps."""
    short_cuts: ShortCuts | None = call.state["short_cuts"]
    if short_cuts is None or call.query(SeasonQuery).season != "current":
        return None
    return (yield from short_cuts.entry(call))


def short_top(call: Call) -> Steps:
    """Answer a page in steps."""
    short_cuts: ShortCuts | None = call.state["short_cuts"]
    wanted = call.query(TopQuery)
    if short_cuts is None or wanted.season != "current":
        return None
    return (yield from short_cuts.top(call, wanted.offset, wanted.limit))


def short_around(call: Call) -> Steps:
    """Answer a neighbourhood in steps."""
    short_cuts: ShortCuts | None = call.state["short_cuts"]
    wanted = call.query(AroundQuery)
    if short_cuts is None or wanted.season != "current":
        return None
    return (yield from short_cuts.around(call, wanted.radius))


_ENTRY = Endpoint(entry, short_cut=short_entry)
_AROUND = Endpoint(around, short_cut=short_around)
_TOP = Endpoint(top, short_cut=short_top)
_STREAM = Endpoint(stream, is_stream=True)

_PAGES = {b"top": _TOP, b"stream": _STREAM}
_ID = rb"([!-\"$&-.0->@-~]+)"  # printable ASCII but / ? # %
_is_hot = re.compile(
    rb"/v1/games/%b/leaderboards/%b/(?:users/%b(/around)?|(top|stream))(?:\?([^#%%]*))?" % (_ID, _ID, _ID)
).fullmatch


def direct(url: bytes) -> Direct | None:
    """Find where hot paths and streams lead, as the routes below do; None for any other path."""
    found = _is_hot(url)
    if found is None:
        return None
    game, leaderboard, user_id, around, page, query = found.groups()
    params = {"game": game.decode(), "leaderboard": leaderboard.decode()}
    if page is not None:
        return Direct(_PAGES[page], params, query or b"")
    params["user_id"] = user_id.decode()
    return Direct(_ENTRY if around is None else _AROUND, params, query or b"")


GAME = "/v1/games/{game}"
BOARD = f"{GAME}/leaderboards/{{leaderboard}}"


def routes() -> list[BaseRoute]:
    """Return the routes, the hot ones first."""
    return [
        route(f"{BOARD}/users/{{user_id}}", GET=entry),
        route(f"{BOARD}/top", GET=top),
        route(f"{BOARD}/users/{{user_id}}/around", GET=around),
        route(f"{BOARD}/users/{{user_id}}/history", GET=history),
        route(f"{BOARD}/lookup", POST=lookup),
        Route(f"{BOARD}/stream", Methods({"GET": _STREAM})),
        Route(f"{BOARD}/export", Methods({"GET": Endpoint(export)})),
        route(f"{BOARD}/rank", GET=what_if),
        route(f"{BOARD}/distribution", GET=distribution),
        route(f"{BOARD}/seasons", GET=list_seasons),
        route(BOARD, GET=leaderboard),
        route(f"{GAME}/leaderboards", GET=list_leaderboards),
        route(f"{GAME}/users/{{user_id}}/sessions", GET=user_sessions),
        route(f"{GAME}/users/{{user_id}}", GET=user),
        route(f"{GAME}/users", GET=search_users),
        *common_routes(),
    ]
