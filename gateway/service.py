"""What happens to a request, in what order: route, caller, limit, scope, game; then it may go on."""

from __future__ import annotations

import asyncio
import re
import secrets
from itertools import count
from typing import TYPE_CHECKING

from gateway import rules
from gateway.access import Access
from gateway.answers import Answers
from gateway.home import Home
from gateway.keys import Keyring, refused
from gateway.limits import Buckets, Proxies, group
from gateway.outbox import Outbox
from gateway.pages import Pages
from gateway.request import Request
from gateway.routes import HOME, find, tree
from gateway.settings import Settings
from gateway.streams import Streams
from gateway.upstream import Upstream
from shared.asgi import Reply, problem
from shared.errors import LeaderboardError
from shared.keys import LEVELS

if TYPE_CHECKING:
    from gateway.door import Door
    from gateway.quota import Ask, Quota
    from gateway.traces import Traces


ME_IN_QUERY = re.compile(rb"(?:(?<=&)|^)user_id=me(?=&|$)")


class Gateway:
    """Decides about requests; moving bytes is the business of `door`, `exchange` and `wire`."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        upstreams: dict[str, Upstream],
        quota: Quota | None = None,
    ) -> None:
        self.settings = settings
        self.upstreams = upstreams
        self.answers = Answers(settings.cors_origins, is_https=settings.https)
        self.access = Access(settings.access_log)
        self.streams = Streams(self)
        self.doors: set[Door] = set()
        self.is_stopping = False
        self.quota = quota
        self.traces: Traces | None = None
        """Set where tracing is on."""
        self.outbox = Outbox()
        self.held = 0
        """Bytes of request bodies in memory."""
        self._keyring = keyring
        self._pages = Pages()
        self.home = Home(settings.public_games)
        self._tree = tree()
        self._public = frozenset(game.encode() for game in settings.public_games)
        self._by_key = Buckets("key", settings.key_rate, settings.key_burst)
        self._by_address = Buckets("address", settings.address_rate, settings.address_burst)
        self._proxies = Proxies(settings.trusted_proxies)
        self._deadline = settings.request_deadline_ms / 1000
        # Unique without asking the system each time: a random start and a count.
        self._id_start = secrets.token_hex(6).encode()
        self._ids = count(1)
        self._loop = asyncio.get_running_loop()

    # --- what runs unasked

    async def tick(self) -> None:
        """Renew what changes with the second; write the log that gathered."""
        self.answers.tick()
        self.access.connections, self.access.held = len(self.doors), self.held
        self.access.ejected = {
            name: sum(peer.ejected for peer in upstream.peers) for name, upstream in self.upstreams.items()
        }
        await self.access.flush()

    async def sweep(self) -> None:
        """Call on every connection whose time is up; cut the slowest readers when too much waits for them."""
        now = self._loop.time()
        for door in [door for door in self.doors if door.until < now]:
            door.expire()
        unread = {door: door.transport.get_write_buffer_size() for door in self.doors}
        excess = sum(unread.values()) - self.settings.max_held_bytes
        for door in sorted(unread, key=unread.__getitem__, reverse=True) if excess > 0 else ():
            if excess > 0:
                excess -= unread[door]
                self.access.cut += 1
                door.transport.abort()

    def away(self) -> list[str]:
        """Return the names of services no address of which can be reached."""
        return [name for name, upstream in self.upstreams.items() if upstream.is_away]

    # --- a request comes in

    def identify(self, request: Request) -> None:
        """Give a request its id: the client's if it is sane, otherwise a new one."""
        given = request.fields.get(b"x-request-id")
        if given is not None and rules.is_request_id(given):
            request.id = given
        else:
            request.id = b"%b-%x" % (self._id_start, next(self._ids))

    def admit(self, request: Request, peer: str) -> Reply | None:
        """Decide whether a request may go on to its service; fill in what was found.

        Args:
            request: as it arrived, its body perhaps still on the way.
            peer: the address at the other end of the connection.

        Returns:
            The answer, when it is the gateway's own.

        Raises:
            LeaderboardError: 400, 401, 403, 404, 405 or 429.
        """
        self.identify(request)
        request.deadline = request.started + self._deadline
        raw, mark, query = request.target.partition(b"?")
        page = None if request.is_stray else self._pages.find(request, raw)
        if page is not None:
            return page
        if raw == b"/" and request.method in (b"GET", b"HEAD") and not request.is_stray:
            return self._go_home(request, query, peer)
        path = rules.plain_path(raw)
        parts = path.split(b"/") if path else []
        node = find(self._tree, parts) if path else None
        if path is None or node is None:
            raise LeaderboardError("not_found", "there is nothing at this path")
        route = node.methods.get(request.method)
        if route is None:
            return self._other_method(request, node.allow)
        if request.is_stray:
            raise rules.bad_request("this method has no body")
        request.route = route
        request.upstream = self.upstreams[route.service]
        self._authorise(request, parts[route.game_at] if route.game_at else b"", peer)
        if route.user_at and parts[route.user_at] == b"me":
            parts[route.user_at] = _me(request)
            path = b"/".join(parts)
        if route.is_stream and ME_IN_QUERY.search(query):
            query = ME_IN_QUERY.sub(b"user_id=" + _me(request), query)
        request.target = path + mark + query
        return None

    def _go_home(self, request: Request, query: bytes, peer: str) -> Reply | None:
        """Prepare the question whose answer the page at `/` shows; a game that is not public has none."""
        wanted = self.home.wanted(query)
        if not wanted.is_public:
            return self.home.page(wanted, None)
        self._limit(request, self._by_address, group(self._client(request, peer)))
        request.route, request.upstream = HOME, self.upstreams[HOME.service]
        request.target, request.wanted = wanted.target, wanted
        request.fields.pop(b"if-none-match", None)
        return None

    def _authorise(self, request: Request, game: bytes, peer: str) -> None:
        route = request.route
        header = request.fields.get(b"authorization")
        if header is None or not self._keyring.remembers(header):
            # A stranger: counted by address, also before a signature is checked for nothing.
            self._limit(request, self._by_address, group(self._client(request, peer)))
        if header is None:
            if route.scope != "read" or game not in self._public:
                raise refused()
            return
        grant = self._keyring.grant(header)
        request.grant = grant
        if not grant.key.unlimited:
            self._limit(request, self._by_key, grant.key.key_id)
        if grant.level < LEVELS[route.scope]:
            raise LeaderboardError("forbidden", f"this needs a key with scope {route.scope}")
        games = grant.key.games
        if games is not None and (not game or game.decode() not in games):
            raise LeaderboardError("forbidden", "this key is not for this game")

    def _limit(self, request: Request, buckets: Buckets, caller: str) -> None:
        verdict = buckets.take(caller, self._loop.time())
        if verdict is None:
            return
        request.limit_lines = verdict.lines
        if not verdict.allowed:
            raise verdict.refusal()
        if self.quota is not None:
            request.takes = (*request.takes, (buckets, caller))

    def asking(self, door: Door, request: Request) -> Ask:
        """Return what asks the shared buckets about a request that those of this process let pass."""
        assert self.quota is not None
        return self.quota.asking(door, request)

    def _client(self, request: Request, peer: str) -> str:
        forwarded = request.fields.get(b"x-forwarded-for")
        return peer if forwarded is None else self._proxies.client(peer, forwarded)

    def _other_method(self, request: Request, allow: bytes) -> Reply:
        if request.method == b"OPTIONS":
            return Reply(204, b"", self.answers.preflight(request, allow))
        error = LeaderboardError("method_not_allowed", f"this path has {allow.decode()}")
        reply = problem(error, request.id.decode())
        return reply._replace(headers=[*reply.headers, (b"allow", allow)])

    def note(self, request: Request, status: int, peer: str) -> None:
        """Keep what is kept of an answered request."""
        if self.traces is not None:
            self.traces.leave(request, status)
        self.access.note(request, status, self._client(request, peer))

    # --- and goes on

    def render(self, request: Request) -> bytes:
        """Write a request as its service gets it."""
        left = int((request.deadline - self._loop.time()) * 1000)
        method = b"GET" if request.method == b"HEAD" else request.method
        who = request.grant.lines if request.grant is not None else b"x-scope: read\r\n"
        has_body = request.size > 0 or method in (b"POST", b"PUT")
        head = b"%b %b HTTP/1.1\r\n%b%bx-request-id: %b\r\nx-deadline-ms: %d\r\n%b" % (
            method,
            request.target,
            request.upstream.host_line,
            who,
            request.id,
            max(left, 1),
            rules.passed_on(request.fields, body=has_body),
        )
        if request.too_large:
            return head + b"x-body-too-large: 1\r\ncontent-length: 0\r\n\r\n"
        if has_body:
            return b"%bcontent-length: %d\r\n\r\n%b" % (head, request.size, b"".join(request.pieces))
        return head + b"\r\n"


def _me(request: Request) -> bytes:
    """Return the player who asks, for `me` in a path."""
    if request.grant is None or request.grant.player is None:
        raise LeaderboardError("forbidden", "`me` needs a player's own token")
    return request.grant.player.encode()
