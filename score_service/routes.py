"""What can be asked of score_service, in what words."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import BaseRoute, Route

from shared.asgi import JSON, Call, Endpoint, Handler, Headers, Reply, decode, problem
from shared.boards import Game
from shared.errors import LeaderboardError, StoreUnavailable, invalid
from shared.messages import BatchIn, GameIn, LeaderboardIn, ProfileIn, SessionIn
from shared.names import MAX_RESULTS

encode = msgspec.json.Encoder().encode
_session = msgspec.json.Decoder(SessionIn)
_batch = msgspec.json.Decoder(BatchIn)
_game = msgspec.json.Decoder(GameIn)
_leaderboard = msgspec.json.Decoder(LeaderboardIn)
_profile = msgspec.json.Decoder(ProfileIn)

REPLAYED: Headers = [JSON, (b"idempotent-replayed", b"true")]


class GamesQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of the list of games."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    cursor: str = ""


async def submit(call: Call) -> Reply:
    """Record one session."""
    game = await _existing(call)
    session = await call.json(_session)
    answer, replayed = await call.state["sessions"].record(game, session, call.deadline)
    return Reply(200, encode(answer), REPLAYED) if replayed else Reply(201, encode(answer))


async def submit_batch(call: Call) -> Reply:
    """Record many sessions, each atomic by itself; outcomes in order."""
    game = await _existing(call)
    body = await call.json(_batch)
    parsed: list[SessionIn | LeaderboardError] = []
    for i, raw in enumerate(body.sessions):
        try:
            parsed.append(decode(bytes(raw), _session))
        except LeaderboardError as error:
            parsed.append(_placed(error, i))
    results = sum(len(session.results) for session in parsed if isinstance(session, SessionIn))
    if results > MAX_RESULTS:
        raise invalid("sessions", f"hold {results} results; at most {MAX_RESULTS} in one call")
    outcomes = await asyncio.gather(*(_one_of_batch(call, game, session) for session in parsed))
    return Reply(200, b'{"sessions":[' + b",".join(outcomes) + b"]}")


def _placed(error: LeaderboardError, i: int) -> LeaderboardError:
    """Name the field of a session inside a batch."""
    errors = [field._replace(path=f"sessions[{i}].{field.path}".rstrip(".")) for field in error.errors]
    return LeaderboardError(error.code, error.detail, errors=errors)


async def _one_of_batch(call: Call, game: Game, session: SessionIn | LeaderboardError) -> bytes:
    try:
        if isinstance(session, LeaderboardError):
            raise session
        answer, replayed = await call.state["sessions"].record(game, session, call.deadline)
    except LeaderboardError as error:
        return problem(error, call.request_id).body
    except StoreUnavailable:
        away = LeaderboardError("upstream_unavailable", "the database cannot be reached; try again")
        return problem(away, call.request_id).body
    except TimeoutError:
        late = LeaderboardError("deadline_exceeded", "the answer did not come in time")
        return problem(late, call.request_id).body
    status = b'{"status":200,' if replayed else b'{"status":201,'
    return status + encode(answer)[1:]


async def get_session(call: Call) -> Reply:
    """Answer a session as it was recorded."""
    game = await _existing(call)
    return Reply(200, encode(await call.state["history"].session(game, call.params["session_id"])))


async def put_game(call: Call) -> Reply:
    """Create or rename a game."""
    answer, is_new = await call.state["definitions"].put_game(call.params["game"], await call.json(_game))
    return Reply(201 if is_new else 200, encode(answer))


async def list_games(call: Call) -> Reply:
    """List games in id order."""
    query = call.query(GamesQuery)
    games = await call.state["definitions"].list_games(query.cursor, query.limit)
    cursor = games[-1].game if len(games) == query.limit else None
    return Reply(200, encode({"games": games, "next_cursor": cursor}))


async def archive_game(call: Call) -> Reply:
    """Archive a game."""
    game = await _existing(call)
    return Reply(200, encode(await call.state["definitions"].archive_game(game)))


async def put_leaderboard(call: Call) -> Reply:
    """Create or replace a leaderboard."""
    game = await _existing(call)
    body = await call.json(_leaderboard)
    answer, is_new = await call.state["definitions"].put_leaderboard(game, call.params["leaderboard"], body)
    return Reply(201 if is_new else 200, encode(answer))


async def drop_leaderboard(call: Call) -> Reply:
    """Drop a leaderboard."""
    game = await _existing(call)
    await call.state["definitions"].drop_leaderboard(game, call.params["leaderboard"])
    return Reply(204, b"", [])


async def put_profile(call: Call) -> Reply:
    """Create or replace a user's profile."""
    game = await _existing(call)
    body = await call.json(_profile)
    answer, is_new = await call.state["users"].put(game, call.params["user_id"], body)
    return Reply(201 if is_new else 200, encode(answer))


async def healthz(_: Call) -> Reply:
    """Say that the process is alive."""
    return Reply(200, b'{"status":"ok"}')


async def readyz(call: Call) -> Reply:
    """Say whether sessions can be recorded: Postgres answers and we are not stopping."""
    await call.state["ready"]()
    return Reply(200, b'{"status":"ready"}')


async def metrics(_: Call) -> Reply:
    """Answer the metrics of this process in Prometheus' text format."""
    return Reply(200, generate_latest(), [(b"content-type", CONTENT_TYPE_LATEST.encode())])


async def nothing_here(_: Call) -> Reply:
    """Answer for every path that is not a route."""
    raise LeaderboardError("not_found", "there is nothing at this path")


async def _existing(call: Call) -> Game:
    """Return the game of the path; existence is checked before the body is read."""
    game: Game = await call.state["games"].get(call.params["game"])
    return game


GAME = "/v1/games/{game}"


def routes() -> list[BaseRoute]:
    """Return the routes, the hot one first."""
    return [
        _route("POST", f"{GAME}/sessions", submit),
        _route("POST", f"{GAME}/sessions/batch", submit_batch),
        _route("GET", f"{GAME}/sessions/{{session_id}}", get_session),
        _route("PUT", f"{GAME}/leaderboards/{{leaderboard}}", put_leaderboard),
        _route("DELETE", f"{GAME}/leaderboards/{{leaderboard}}", drop_leaderboard),
        _route("PUT", f"{GAME}/users/{{user_id}}", put_profile),
        _route("PUT", GAME, put_game),
        _route("DELETE", GAME, archive_game),
        _route("GET", "/v1/games", list_games),
        _route("GET", "/healthz", healthz),
        _route("GET", "/readyz", readyz),
        _route("GET", "/metrics", metrics),
        Route("/{path:path}", Endpoint(nothing_here), methods=None),
    ]


def _route(method: str, path: str, handler: Handler) -> Route:
    endpoint: Any = Endpoint(handler)
    return Route(path, endpoint, methods=[method])
