"""The whole API as one table, and the matcher that finds a route in a few dictionary look-ups."""

from __future__ import annotations

from typing import Literal, NamedTuple

from shared.keys import Scope

Service = Literal["score", "rank", "gateway"]


GAME = "/v1/games/{game}"
BOARD = GAME + "/leaderboards/{leaderboard}"
USER = GAME + "/users/{user_id}"

HOT = frozenset(
    {
        ("POST", f"{GAME}/sessions"),
        ("GET", f"{BOARD}/top"),
        ("GET", f"{BOARD}/users/{{user_id}}"),
        ("GET", f"{BOARD}/users/{{user_id}}/around"),
    }
)


class Route(NamedTuple):
    """One call of the API.

    `game_at` and `user_at` are where those ids stand in the path split at slashes (0: nowhere).
    `is_hot`: its service answers it without a connection of its own (see shared.frames).
    """

    method: str
    pattern: str
    scope: Scope
    service: Service
    summary: str
    is_read: bool
    is_stream: bool
    game_at: int
    user_at: int
    is_hot: bool


def _route(method: str, pattern: str, scope: Scope, service: Service, summary: str) -> Route:
    parts = pattern.split("/")
    # A look-up is a question asked with a body: it changes nothing, so it may be sent again.
    is_read = method == "GET" or pattern.endswith("/lookup")
    return Route(
        method=method,
        pattern=pattern,
        scope=scope,
        service=service,
        summary=summary,
        is_read=is_read,
        is_stream=pattern.endswith("/stream"),
        game_at=parts.index("{game}") if "{game}" in parts else 0,
        user_at=parts.index("{user_id}") if "{user_id}" in parts else 0,
        is_hot=(method, pattern) in HOT,
    )


NOWHERE = Route("", "", "read", "gateway", "", False, False, 0, 0, False)
"""The route of a request that has none: answered by the gateway itself."""

HOME = Route("GET", "/", "read", "rank", "", True, False, 0, 0, False)
"""The page at `/`: written by the gateway around an answer of rank_service."""

ROUTES: tuple[Route, ...] = (
    _route("POST", f"{GAME}/sessions", "submit", "score", "Record one session"),
    _route(
        "POST", f"{GAME}/sessions/batch", "submit", "score", "Record many sessions, each atomic by itself"
    ),
    _route("GET", f"{GAME}/sessions", "admin", "score", "Find sessions"),
    _route("GET", f"{GAME}/sessions/{{session_id}}", "read", "score", "Get a recorded session"),
    _route(
        "POST", f"{GAME}/sessions/{{session_id}}/void", "admin", "score", "Take a session out of every board"
    ),
    _route("GET", "/v1/games", "admin", "score", "List games"),
    _route("PUT", GAME, "admin", "score", "Create or rename a game"),
    _route("DELETE", GAME, "admin", "score", "Archive a game"),
    _route("GET", f"{GAME}/audit", "admin", "score", "List what was done by hand"),
    _route("GET", "/v1/status", "admin", "score", "Health and lag of every service"),
    _route("PUT", BOARD, "admin", "score", "Create or replace a leaderboard"),
    _route("DELETE", BOARD, "admin", "score", "Drop a leaderboard"),
    _route("POST", f"{BOARD}/preview", "admin", "score", "See who would move by another definition"),
    _route("POST", f"{BOARD}/rebuild", "admin", "score", "Fold a leaderboard from its history once more"),
    _route("GET", f"{BOARD}/webhook", "admin", "score", "Get a leaderboard's webhook and its announcements"),
    _route("PUT", USER, "submit", "score", "Create or replace a profile"),
    _route("DELETE", USER, "admin", "score", "Erase a user"),
    _route("POST", f"{USER}/ban", "admin", "score", "Hide a user from every board"),
    _route("DELETE", f"{USER}/ban", "admin", "score", "Show a hidden user again"),
    _route("GET", f"{USER}/export", "admin", "score", "Get all that is held about a user"),
    _route("GET", f"{GAME}/leaderboards", "read", "rank", "List leaderboards"),
    _route("GET", BOARD, "read", "rank", "Get a leaderboard's definition"),
    _route("GET", f"{BOARD}/top", "read", "rank", "Get a page of a leaderboard"),
    _route("GET", f"{BOARD}/users/{{user_id}}", "read", "rank", "Get one user's entry"),
    _route("GET", f"{BOARD}/users/{{user_id}}/around", "read", "rank", "Get an entry and those around it"),
    _route("GET", f"{BOARD}/users/{{user_id}}/history", "read", "rank", "Get one user's rank day by day"),
    _route("POST", f"{BOARD}/lookup", "read", "rank", "Get the entries of chosen users"),
    _route("GET", f"{BOARD}/rank", "read", "rank", "Get the rank a score would have"),
    _route("GET", f"{BOARD}/distribution", "read", "rank", "Get a histogram of scores"),
    _route("GET", f"{BOARD}/seasons", "read", "rank", "List seasons"),
    _route("GET", f"{BOARD}/stream", "read", "rank", "Follow a leaderboard (server-sent events)"),
    _route("GET", f"{BOARD}/export", "admin", "rank", "Get whole standings (NDJSON)"),
    _route("GET", f"{GAME}/users", "read", "rank", "Search users"),
    _route("GET", USER, "read", "rank", "Get a user's profile and entries"),
    _route("GET", f"{USER}/sessions", "read", "rank", "List a user's sessions"),
)


class Node:
    """A place in the tree of paths: fixed next segments, any next segment, methods that end here."""

    __slots__ = ("any", "fixed", "methods")

    def __init__(self) -> None:
        self.fixed: dict[bytes, Node] = {}
        self.any: Node | None = None
        self.methods: dict[bytes, Route] = {}

    @property
    def allow(self) -> bytes:
        """The methods this path has, as the `Allow` header lists them."""
        methods = {*self.methods, b"OPTIONS"}
        if b"GET" in methods:
            methods.add(b"HEAD")
        return b", ".join(sorted(methods))


def tree(routes: tuple[Route, ...] = ROUTES) -> Node:
    """Build the tree of paths."""
    root = Node()
    for route in routes:
        node = root
        for part in route.pattern.encode().split(b"/")[1:]:
            if part.startswith(b"{"):
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.fixed.setdefault(part, Node())
        node.methods[route.method.encode()] = route
        if route.method == "GET":
            # The services never see HEAD: the answer to GET is asked for and its body dropped.
            node.methods[b"HEAD"] = route
    return root


def find(root: Node, parts: list[bytes]) -> Node | None:
    """Return the node of a path split at slashes, or None; a fixed segment goes before any other."""
    node: Node | None = root
    for part in parts[1:]:
        assert node is not None
        node = node.fixed.get(part) or node.any
        if node is None:
            return None
    return node if node is not None and node.methods else None
