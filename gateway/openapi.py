"""The API described: OpenAPI 3.1 made from the route table and the message types, nothing by hand twice."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.routes import BOARD, GAME, ROUTES, USER, Route
from shared import answers
from shared.errors import KINDS, WIRE_CODES
from shared.messages import (
    BanIn,
    BatchIn,
    Envelope,
    GameIn,
    GameOut,
    LeaderboardDefined,
    LeaderboardIn,
    LeaderboardOut,
    ProfileIn,
    ProfileOut,
    RankHistory,
    Request,
    SessionIn,
    SessionOut,
    VoidIn,
)
from shared.names import SLUG_PATTERN, USER_ID_PATTERN, Score, UserId

Season = Annotated[str, Meta(description="`current`, `previous`, or a season's id (its start, or `all`)")]
Limit = Annotated[int, Meta(ge=1, le=100)]
Cursor = Annotated[str, Meta(max_length=64, description="a `next_cursor` of an earlier answer")]


class Seasonal(Struct):
    """The query of what concerns one season."""

    season: Season = "current"


class Top(Seasonal):
    """The query of a page."""

    limit: Limit = 10
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class Around(Seasonal):
    """The query of a neighbourhood."""

    radius: Annotated[int, Meta(ge=1, le=50)] = 5


class Days(Seasonal):
    """The query of daily ranks."""

    days: Annotated[int, Meta(ge=1, le=400)] = 30


class WhatIf(Seasonal, kw_only=True):
    """The query of the rank a score would have."""

    score: Score


class Spread(Seasonal):
    """The query of a distribution."""

    buckets: Limit = 20


class Stream(Seasonal):
    """The query of a stream."""

    limit: Limit = 10
    user_id: UserId | Literal["", "me"] = ""


class Seasons(Struct):
    """The query of the list of seasons."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Cursor = ""


class Search(Struct):
    """The query of a search for users."""

    search: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[^\x00]*\Z")]
    limit: Limit = 20


class History(Struct):
    """The query of a user's sessions."""

    limit: Limit = 20
    cursor: Cursor = ""


class Sessions(Struct, rename={"since": "from", "until": "to"}):
    """The query of a search for sessions."""

    user_id: UserId | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    cursor: Cursor = ""
    limit: Limit = 20


class Export(Struct):
    """The query of a user's export."""

    cursor: Cursor = ""


class Audit(Struct):
    """The query of the audit."""

    limit: Limit = 20
    cursor: Annotated[str, Meta(pattern=r"\A([1-9][0-9]{0,17})?\Z", description="a `next_cursor`")] = ""


class Games(Struct):
    """The query of the list of games."""

    limit: Limit = 100
    cursor: Annotated[
        str, Meta(pattern=r"\A([a-z0-9][a-z0-9_-]{0,63})?\Z", description="a `next_cursor`")
    ] = ""


class LookupIn(Request, frozen=True):
    """The users whose entries are asked for."""

    user_ids: Annotated[tuple[UserId, ...], Meta(min_length=1, max_length=200)]


class FieldProblem(Struct):
    """A field and the rule it breaks."""

    path: str
    message: str


class Problem(Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[FieldProblem] | msgspec.UnsetType = msgspec.UNSET


QUERIES: dict[str, type[Struct]] = {
    "/v1/games": Games,
    f"{GAME}/sessions": Sessions,
    f"{GAME}/audit": Audit,
    f"{GAME}/users": Search,
    f"{USER}/sessions": History,
    f"{USER}/export": Export,
    f"{BOARD}/top": Top,
    f"{BOARD}/seasons": Seasons,
    f"{BOARD}/users/{{user_id}}": Seasonal,
    f"{BOARD}/users/{{user_id}}/around": Around,
    f"{BOARD}/users/{{user_id}}/history": Days,
    f"{BOARD}/rank": WhatIf,
    f"{BOARD}/distribution": Spread,
    f"{BOARD}/stream": Stream,
    f"{BOARD}/export": Seasonal,
    f"{BOARD}/lookup": Seasonal,
}
"""Queries by path; all are of GET but a look-up's, which is of POST."""

BODIES: dict[tuple[str, str], type[Struct]] = {
    ("POST", f"{GAME}/sessions"): SessionIn,
    ("POST", f"{GAME}/sessions/batch"): BatchIn,
    ("POST", f"{GAME}/sessions/{{session_id}}/void"): VoidIn,
    ("PUT", GAME): GameIn,
    ("PUT", BOARD): LeaderboardIn,
    ("POST", f"{BOARD}/preview"): LeaderboardIn,
    ("PUT", USER): ProfileIn,
    ("POST", f"{USER}/ban"): BanIn,
    ("POST", f"{BOARD}/lookup"): LookupIn,
}

ANSWERS: dict[tuple[str, str], type[Struct]] = {
    ("POST", f"{GAME}/sessions"): SessionOut,
    ("POST", f"{GAME}/sessions/batch"): answers.BatchOut,
    ("GET", f"{GAME}/sessions"): answers.FoundSessions,
    ("GET", f"{GAME}/sessions/{{session_id}}"): answers.RecordedSession,
    ("POST", f"{GAME}/sessions/{{session_id}}/void"): answers.RecordedSession,
    ("GET", "/v1/games"): answers.GameList,
    ("PUT", GAME): GameOut,
    ("DELETE", GAME): GameOut,
    ("GET", f"{GAME}/audit"): answers.AuditPage,
    ("GET", "/v1/status"): answers.Status,
    ("PUT", BOARD): LeaderboardDefined,
    ("POST", f"{BOARD}/preview"): answers.Preview,
    ("POST", f"{BOARD}/rebuild"): LeaderboardOut,
    ("GET", f"{BOARD}/webhook"): answers.WebhookOut,
    ("PUT", USER): ProfileOut,
    ("POST", f"{USER}/ban"): answers.BanOut,
    ("DELETE", f"{USER}/ban"): answers.BanOut,
    ("GET", f"{USER}/export"): answers.UserExport,
    ("GET", f"{GAME}/leaderboards"): answers.LeaderboardList,
    ("GET", BOARD): answers.LeaderboardDetails,
    ("GET", f"{BOARD}/top"): Envelope,
    ("GET", f"{BOARD}/users/{{user_id}}"): Envelope,
    ("GET", f"{BOARD}/users/{{user_id}}/around"): Envelope,
    ("GET", f"{BOARD}/users/{{user_id}}/history"): RankHistory,
    ("POST", f"{BOARD}/lookup"): answers.Lookup,
    ("GET", f"{BOARD}/rank"): answers.ScoreRank,
    ("GET", f"{BOARD}/distribution"): answers.Distribution,
    ("GET", f"{BOARD}/seasons"): answers.SeasonList,
    ("GET", f"{GAME}/users"): answers.UserList,
    ("GET", USER): answers.UserDetails,
    ("GET", f"{USER}/sessions"): answers.PlayedSessions,
}
"""What each call answers; streams are text, and what is dropped answers nothing."""

PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "game": {"type": "string", "pattern": SLUG_PATTERN},
    "leaderboard": {"type": "string", "pattern": SLUG_PATTERN},
    "user_id": {
        "type": "string",
        "pattern": USER_ID_PATTERN,
        "description": "or `me`, with a player's token",
    },
    "session_id": {"type": "string", "format": "uuid"},
}

STREAMS = {f"{BOARD}/stream": "text/event-stream", f"{BOARD}/export": "application/x-ndjson"}


def document() -> dict[str, Any]:
    """Build the OpenAPI document."""
    types: set[type[Struct]] = {*BODIES.values(), *ANSWERS.values(), Problem}
    _, components = msgspec.json.schema_components(
        sorted(types, key=_name), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(route)
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Gaming leaderboard", "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(codes) for status, codes in _codes().items()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    plain: dict[str, Any] = _plain_patterns(made)
    return plain


def _operation(route: Route) -> dict[str, Any]:
    key = (route.method, route.pattern)
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"Needs a key with scope `{route.scope}`.",
        "security": [{"key": []}] + ([{}] if route.scope == "read" else []),
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if key in BODIES:
        content = {"application/json": {"schema": _ref(BODIES[key])}}
        operation["requestBody"] = {"required": BODIES[key] is not BanIn, "content": content}
    return operation


def _responses(route: Route) -> dict[str, Any]:
    kind = STREAMS.get(route.pattern, "application/json")
    answer = ANSWERS.get((route.method, route.pattern))
    good = {
        "description": "Done",
        "content": {kind: {"schema": _ref(answer) if answer else {"type": "string"}}},
    }
    dropped = answer is None and route.pattern not in STREAMS
    responses: dict[str, Any] = {"204": {"description": "Done"}} if dropped else {"200": good}
    if route.method == "PUT" or route.pattern == f"{GAME}/sessions":
        responses["201"] = good | {"description": "Created"}
    if route.pattern.endswith("/rebuild"):
        responses = {"202": good | {"description": "Begun"}}
    if route.pattern.endswith("/top"):
        responses["304"] = {"description": "Not changed since the `ETag` given in `If-None-Match`"}
    for status in sorted(_codes()):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _refusal(codes: list[str]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(Problem)}}
    return {"description": "One of the codes " + ", ".join(codes), "content": content}


def _codes() -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {}
    for code, kind in KINDS.items():
        wire = f"`{WIRE_CODES.get(code, code)}`"
        if wire not in codes.setdefault(kind.status, []):
            codes[kind.status].append(wire)
    return codes


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.pattern.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    query = QUERIES.get(route.pattern)
    if query is None or (route.method != "GET" and not route.is_read):
        return []
    _, components = msgspec.json.schema_components([query])
    schema = components[query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _given(field)}
        for name, field in schema["properties"].items()
    ]


def _given(field: dict[str, Any]) -> dict[str, Any]:
    """Describe a parameter where it is given: None, which stands for its absence, cannot be."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds or field.get("default", kinds) is not None:
        return field
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _operation_id(route: Route) -> str:
    words = [part.strip("{}") for part in route.pattern.split("/")[2:]]
    return "_".join([route.method.lower(), *words])


def _name(kind: type[Struct]) -> str:
    return kind.__name__


def _ref(kind: type[Struct]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _plain_patterns(value: Any) -> Any:
    """Write patterns as JSON Schema has them: Python's `\\A` and `\\Z` mean nothing there."""
    if isinstance(value, dict):
        return {
            key: each.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(each, str)
            else _plain_patterns(each)
            for key, each in value.items()
        }
    return [_plain_patterns(each) for each in value] if isinstance(value, list) else value
