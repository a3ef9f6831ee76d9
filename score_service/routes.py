"""What can be asked of score_service, in what words."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.routing import BaseRoute

from score_service.records import Records
from shared.answers import GameList
from shared.asgi import JSON, Call, Endpoint, Headers, Reply, decode, problem
from shared.boards import Game
from shared.cursors import position_of
from shared.direct import Direct
from shared.errors import LeaderboardError, StoreUnavailable, invalid
from shared.messages import BanIn, BatchIn, GameIn, LeaderboardIn, ProfileIn, SessionIn, VoidIn
from shared.names import MAX_RESULTS, UserId, is_slug
from shared.routing import common_routes, route

encode = msgspec.json.Encoder().encode
_session = msgspec.json.Decoder(SessionIn)
_batch = msgspec.json.Decoder(BatchIn)
_game = msgspec.json.Decoder(GameIn)
_leaderboard = msgspec.json.Decoder(LeaderboardIn)
_void = msgspec.json.Decoder(VoidIn)
_ban = msgspec.json.Decoder(BanIn)
_profile = msgspec.json.Decoder(ProfileIn)

MAX_BIGINT = 2**63 - 1
REPLAYED: Headers = [JSON, (b"idempotent-replayed", b"true")]


class GamesQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of the list of games."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    cursor: Annotated[
        str, Meta(pattern=r"\A([a-z0-9][a-z0-9_-]{0,63})?\Z", description="a `next_cursor`")
    ] = ""


class SessionsQuery(Struct, forbid_unknown_fields=True, frozen=True, rename={"since": "from", "until": "to"}):
    """The query of the search for sessions; times bound `played_at`: from <= it < to."""

    user_id: UserId | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    cursor: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class AuditQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of the audit."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(pattern=r"\A([1-9][0-9]{0,17})?\Z", description="a next_cursor")] = ""


class ExportQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The query of a user's export."""

    cursor: Annotated[str, Meta(max_length=64)] = ""


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


async def find_sessions(call: Call) -> Reply:
    """Find sessions by player and time, newest first."""
    game = await _existing(call)
    asked = call.query(SessionsQuery)
    after = position_of(asked.cursor) if asked.cursor else None
    records = call.state["records"]
    found = await records.find(game, asked.user_id, asked.since, asked.until, after, asked.limit)
    return Reply(200, encode(found))


async def read_audit(call: Call) -> Reply:
    """Answer what was done by hand, newest first."""
    game = await _existing(call)
    asked = call.query(AuditQuery)
    found = await call.state["records"].audit(game, int(asked.cursor or MAX_BIGINT), asked.limit)
    return Reply(200, encode(found))


async def export_user(call: Call) -> Reply:
    """Answer all that is held about one user."""
    game = await _existing(call)
    asked = call.query(ExportQuery)
    after = position_of(asked.cursor) if asked.cursor else None
    records: Records = call.state["records"]
    return Reply(200, encode(await records.export(game, call.params["user_id"], after, _key_id(call))))


async def void_session(call: Call) -> Reply:
    """Take a session out of every board."""
    game = await _existing(call)
    session_id = call.params["session_id"]
    await call.state["history"].session(game, session_id)
    body = await call.json(_void)
    moderation = call.state["moderation"]
    return Reply(200, encode(await moderation.void(game, session_id, body.reason, _key_id(call))))


async def ban_user(call: Call) -> Reply:
    """Hide a user from every board; the body may be left out."""
    game = await _existing(call)
    has_body = call.header(b"content-length") not in (None, b"0") or call.header(b"transfer-encoding")
    reason = (await call.json(_ban)).reason if has_body else None
    moderation = call.state["moderation"]
    return Reply(200, encode(await moderation.ban(game, call.params["user_id"], reason, _key_id(call))))


async def unban_user(call: Call) -> Reply:
    """Show a user again."""
    game = await _existing(call)
    moderation = call.state["moderation"]
    return Reply(200, encode(await moderation.unban(game, call.params["user_id"], _key_id(call))))


async def put_game(call: Call) -> Reply:
    """Create or rename a game."""
    body = await call.json(_game)
    answer, is_new = await call.state["definitions"].put_game(call.params["game"], body, _key_id(call))
    return Reply(201 if is_new else 200, encode(answer))


async def list_games(call: Call) -> Reply:
    """List games in id order."""
    query = call.query(GamesQuery)
    games = await call.state["definitions"].list_games(query.cursor, query.limit)
    cursor = games[-1].game if len(games) == query.limit else None
    return Reply(200, encode(GameList(games, cursor)))


async def archive_game(call: Call) -> Reply:
    """Archive a game."""
    game = await _existing(call)
    return Reply(200, encode(await call.state["definitions"].archive_game(game, _key_id(call))))


async def put_leaderboard(call: Call) -> Reply:
    """Create or replace a leaderboard."""
    game = await _existing(call)
    body = await call.json(_leaderboard)
    name, key_id = call.params["leaderboard"], _key_id(call)
    call.state["webhooks"].check(body.webhook)
    answer, is_new = await call.state["definitions"].put_leaderboard(game, name, body, key_id)
    return Reply(201 if is_new else 200, encode(answer))


async def preview_leaderboard(call: Call) -> Reply:
    """Say who would move if a leaderboard were defined so."""
    game = await _existing(call)
    body = await call.json(_leaderboard)
    name, key_id = call.params["leaderboard"], _key_id(call)
    return Reply(200, encode(await call.state["previews"].preview(game, name, body, key_id)))


async def rebuild_leaderboard(call: Call) -> Reply:
    """Fold a leaderboard from its history once more."""
    game = await _existing(call)
    definitions = call.state["definitions"]
    return Reply(
        202, encode(await definitions.rebuild_leaderboard(game, call.params["leaderboard"], _key_id(call)))
    )


async def drop_leaderboard(call: Call) -> Reply:
    """Drop a leaderboard."""
    game = await _existing(call)
    await call.state["definitions"].drop_leaderboard(game, call.params["leaderboard"], _key_id(call))
    return Reply(204, b"", [])


async def get_webhook(call: Call) -> Reply:
    """Answer a leaderboard's webhook and what became of its announcements."""
    game = await _existing(call)
    return Reply(200, encode(await call.state["webhooks"].look(game, call.params["leaderboard"])))


async def put_profile(call: Call) -> Reply:
    """Create or replace a user's profile."""
    game = await _existing(call)
    body = await call.json(_profile)
    answer, is_new = await call.state["users"].put(game, call.params["user_id"], body)
    return Reply(201 if is_new else 200, encode(answer))


async def erase_user(call: Call) -> Reply:
    """Take a user out of everything."""
    game = await _existing(call)
    await call.state["erasure"].erase(game, call.params["user_id"], _key_id(call))
    return Reply(204, b"", [])


async def _existing(call: Call) -> Game:
    """Return the game of the path; existence is checked before the body is read."""
    game: Game = await call.state["games"].get(call.params["game"])
    return game


async def status(call: Call) -> Reply:
    """Answer how the whole does."""
    return Reply(200, encode(await call.state["watcher"].look()))


def _key_id(call: Call) -> str:
    """Return the id of the key that the gateway checked."""
    return (call.header(b"x-key-id") or b"").decode("latin-1")


GAME = "/v1/games/{game}"
_SUBMIT = Endpoint(submit)


def direct(url: bytes) -> Direct | None:
    """Find where the hot path leads, as the routes below do; None for any other path."""
    if not url.startswith(b"/v1/games/") or not url.endswith(b"/sessions"):
        return None
    game = url[10:-9].decode("latin-1")
    return Direct(_SUBMIT, {"game": game}, b"") if is_slug(game) else None


def routes() -> list[BaseRoute]:
    """Return the routes, the hot one first."""
    return [
        route(f"{GAME}/sessions", POST=submit, GET=find_sessions),
        route(f"{GAME}/sessions/batch", POST=submit_batch),
        route(f"{GAME}/sessions/{{session_id}}", GET=get_session),
        route(f"{GAME}/sessions/{{session_id}}/void", POST=void_session),
        route(f"{GAME}/leaderboards/{{leaderboard}}", PUT=put_leaderboard, DELETE=drop_leaderboard),
        route(f"{GAME}/leaderboards/{{leaderboard}}/webhook", GET=get_webhook),
        route(f"{GAME}/leaderboards/{{leaderboard}}/preview", POST=preview_leaderboard),
        route(f"{GAME}/leaderboards/{{leaderboard}}/rebuild", POST=rebuild_leaderboard),
        route(f"{GAME}/users/{{user_id}}", PUT=put_profile, DELETE=erase_user),
        route(f"{GAME}/users/{{user_id}}/export", GET=export_user),
        route(f"{GAME}/users/{{user_id}}/ban", POST=ban_user, DELETE=unban_user),
        route(f"{GAME}/audit", GET=read_audit),
        route(GAME, PUT=put_game, DELETE=archive_game),
        route("/v1/games", GET=list_games),
        route("/v1/status", GET=status),
        *common_routes(),
    ]
