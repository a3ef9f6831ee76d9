"""What happens to a request, in what order: route, key, scope, game, limits; then the way through."""

from __future__ import annotations

import asyncio
import secrets
from email.utils import formatdate
from itertools import count
from typing import TYPE_CHECKING

from gateway import rules
from gateway.keys import Keyring, refused
from gateway.pages import Pages
from gateway.request import Request
from gateway.routes import find, tree
from gateway.settings import Settings
from gateway.upstream import Upstream
from gateway.wire import Headers
from shared.asgi import Reply, problem
from shared.errors import LeaderboardError
from shared.keys import LEVELS

if TYPE_CHECKING:
    from gateway.door import Door

HYGIENE = (
    b"x-content-type-options: nosniff\r\n"
    b"referrer-policy: no-referrer\r\n"
    b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
)
"""On every answer of the API; pages bring their own policy."""


class Gateway:
    """Decides about requests; the wires are `door`'s and `wire`'s business."""

    def __init__(self, settings: Settings, keyring: Keyring, upstreams: dict[str, Upstream]) -> None:
        self.settings = settings
        self.keyring = keyring
        self.upstreams = upstreams
        self.pages = Pages()
        self._tree = tree()
        self._public = frozenset(game.encode() for game in settings.public_games)
        self.doors: set[Door] = set()
        self._deadline = settings.request_deadline_ms / 1000
        # Unique without asking the system each time: a random start and a count.
        self._id_start = secrets.token_hex(6).encode()
        self._ids = count(1)
        self._loop = asyncio.get_running_loop()
        self._common = HYGIENE
        self.is_stopping = False

    async def tick(self) -> None:
        """Renew what changes with the second."""
        self._common = HYGIENE + b"date: %b\r\n" % formatdate(usegmt=True).encode()

    # --- in

    def identify(self, request: Request) -> None:
        """Give a request its id: the client's if it is sane, otherwise a new one."""
        given = request.fields.get(b"x-request-id")
        if given is not None and rules.is_request_id(given):
            request.id = given
        else:
            request.id = b"%b-%x" % (self._id_start, next(self._ids))

    def admit(self, request: Request) -> Reply | None:
        """Decide whether a request may go on to its service; fill in what was found.

        Returns:
            The answer, when it is the gateway's own.

        Raises:
            LeaderboardError: 401, 403, 404 or 405, in the order the API promises.
        """
        self.identify(request)
        request.deadline = request.started + self._deadline
        raw, mark, request.query = request.target.partition(b"?")
        page = self.pages.find(request.method, raw)
        if page is not None:
            return page
        path = rules.plain_path(raw)
        parts = path.split(b"/") if path else []
        node = find(self._tree, parts) if path else None
        if path is None or node is None:
            raise LeaderboardError("not_found", "there is nothing at this path")
        route = node.methods.get(request.method)
        if route is None:
            return self._wrong_method(request, node.allow)
        request.route = route
        request.path = path
        request.target = path + mark + request.query
        request.upstream = self.upstreams[route.service]
        game = parts[route.game_at] if route.game_at else b""
        self._authorise(request, game)
        return None

    def _authorise(self, request: Request, game: bytes) -> None:
        route = request.route
        header = request.fields.get(b"authorization")
        if header is None:
            if route.scope != "read" or game not in self._public:
                raise refused()
            return
        grant = self.keyring.grant(header)
        request.grant = grant
        if grant.level < LEVELS[route.scope]:
            raise LeaderboardError("forbidden", f"this needs a key with scope {route.scope}")
        games = grant.key.games
        if games is not None and (not game or game.decode() not in games):
            raise LeaderboardError("forbidden", "this key is not for this game")

    def _wrong_method(self, request: Request, allow: bytes) -> Reply:
        if request.method == b"OPTIONS":
            return Reply(204, b"", [(b"allow", allow)])
        error = LeaderboardError("method_not_allowed", f"this path has {allow.decode()}")
        reply = problem(error, request.id.decode())
        return reply._replace(headers=[*reply.headers, (b"allow", allow)])

    def render(self, request: Request) -> bytes:
        """Write a request as its service gets it."""
        left = int((request.deadline - self._loop.time()) * 1000)
        method = b"GET" if request.method == b"HEAD" else request.method
        who = request.grant.lines if request.grant is not None else b"x-scope: read\r\n"
        head = b"%b %b HTTP/1.1\r\n%b%bx-request-id: %b\r\nx-deadline-ms: %d\r\n%b" % (
            method,
            request.target,
            request.upstream.host_line,
            who,
            request.id,
            max(left, 1),
            rules.passed_on(request.fields),
        )
        if request.too_large:
            return head + b"x-body-too-large: 1\r\ncontent-length: 0\r\n\r\n"
        if request.size or method in (b"POST", b"PUT"):
            return b"%bcontent-length: %d\r\n\r\n%b" % (head, request.size, b"".join(request.pieces))
        return head + b"\r\n"

    # --- out

    def whole(self, request: Request, status: int, headers: Headers, body: bytes) -> bytes:
        """Write a whole answer as the client gets it."""
        lines = rules.answer_headers(headers)
        lines.append(b"content-length: %d\r\n" % len(body) if status not in (204, 304) else b"")
        head = self._head(request, status, lines)
        return head if request.method == b"HEAD" or status in (204, 304) else head + body

    def stream_head(self, request: Request, status: int, headers: Headers, length: int | None) -> bytes:
        """Write the head of an answer that comes in pieces."""
        lines = rules.answer_headers(headers)
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
            request.is_chunked = False
        elif request.is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        return self._head(request, status, lines)

    def _head(self, request: Request, status: int, lines: list[bytes]) -> bytes:
        if not request.keep_alive:
            lines.append(b"connection: close\r\n")
        return b"%b%b%bx-request-id: %b\r\n\r\n" % (
            rules.status_line(status),
            b"".join(lines),
            self._common,
            request.id,
        )

    def problem(self, request: Request, error: LeaderboardError) -> bytes:
        """Write an error as the client gets it."""
        reply = problem(error, request.id.decode())
        headers = reply.headers
        if error.status == 401:
            headers = [*headers, (b"www-authenticate", b'Bearer realm="leaderboard"')]
        return self.whole(request, reply.status, headers, reply.body)

    def abandoned(self, request: Request) -> None:
        """Count a request whose client went away."""

    async def sweep(self) -> None:
        """Call on every connection whose time is up."""
        now = self._loop.time()
        for door in [door for door in self.doors if door.until < now]:
            door.expire()

    def away(self) -> list[str]:
        """Return the names of services no address of which can be reached."""
        return [name for name, upstream in self.upstreams.items() if upstream.is_away]

    def finished(self, request: Request, status: int) -> None:
        """Count an answered request."""
