"""One client's connection: requests in, strictly; answers out, in order.

It is uvicorn's protocol class for the public port. uvicorn's own builds an ASGI scope, a task and an
event per request; a proxy needs none of them, and half of a request's cost is saved without. What a
proxy does need is here: strict heads, bounds on sizes and times, and a clean close after an
answer that came before the whole request was read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from gateway.access import ABANDONED
from gateway.exchange import Exchange
from gateway.heads import Head
from gateway.home import HomeExchange
from gateway.request import Request
from gateway.routes import HOME
from gateway.rules import BODILESS, SINGLE, WANTED, announces_body, bad_request, check_head
from gateway.service import Gateway
from gateway.streams import Listener, is_shared
from shared.errors import LeaderboardError
from shared.names import MAX_BODY_BYTES

if TYPE_CHECKING:
    from gateway.quota import Ask

MAX_HEAD_BYTES = 16 * 1024
"""A request's target, header names and values (and trailers)."""

MAX_HEADERS = 100
MAX_OVERHEAD_BYTES = 512 * 1024
"""Bytes of one request besides its body (chunk sizes and extensions too); more than one read holds."""

LINGER_SECONDS = 2.0
"""How long what still comes is thrown away after the last answer, so that the client can read it."""


class Door(asyncio.Protocol):
    """A client's connection, from its first byte to its last.

    `until` is the moment (of the loop's clock) at which `expire` is to be called.
    """

    __slots__ = (
        "_advancing",
        "_broken",
        "_closing",
        "_deaf",
        "_exchange",
        "_gateway",
        "_head",
        "_head_bytes",
        "_headers",
        "_held",
        "_inbox",
        "_loop",
        "_others",
        "_overhead",
        "_parser",
        "_request",
        "_streaming",
        "_stuffed",
        "peer",
        "transport",
        "until",
    )

    def __init__(self, *, server_state: Any, app_state: dict[str, Any], **_: Any) -> None:
        self._gateway: Gateway = app_state["gateway"]
        self._others: set[Any] = server_state.connections
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.peer = ""
        self.until = 0.0
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._head: Head | None = None
        self._inbox: deque[Request] = deque()
        self._exchange: Ask | Exchange | Listener | None = None
        self._broken: LeaderboardError | None = None
        self._head_bytes = self._headers = self._overhead = 0
        self._advancing = self._closing = self._deaf = self._held = False
        self._streaming = self._stuffed = False

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away when there are too many."""
        # uvloop's transports are asyncio's by duck, not by class.
        self.transport = cast("asyncio.Transport", transport)
        doors, settings = self._gateway.doors, self._gateway.settings
        if len(doors) >= settings.max_clients:
            self.transport.abort()
            return
        doors.add(self)
        self._others.add(self)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        self.until = self._loop.time() + settings.head_seconds

    def connection_lost(self, _: Exception | None) -> None:
        """Give up what the client no longer waits for."""
        self._gateway.doors.discard(self)
        self._others.discard(self)
        self._closing = self._deaf = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
            self._gateway.note(self._inbox[0], ABANDONED, self.peer)
        self._forget_all()

    def data_received(self, data: bytes) -> None:
        """Parse what came, then take the oldest request as far as it can go."""
        if self._deaf:
            return
        is_first = self._request is None and not self._inbox
        if is_first and self._head is not None:
            request = self._head.again(data, self._loop.time())
            if request is not None:
                self._inbox.append(request)
                self._advance()
                return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True
        except httptools.HttpParserError:
            self._deaf = True
            self._broken = self._broken or bad_request("this is not HTTP as it is accepted here")
        if self._overhead > MAX_OVERHEAD_BYTES:
            self._deaf = True
            self._broken = self._broken or LeaderboardError(
                "head_too_large", "too many bytes for one request"
            )
        if is_first and len(self._inbox) == 1 and self._request is None and not self._deaf:
            self._head = Head.of(data, self._inbox[0])
        if len(self._inbox) > 1 and not self._held:
            self._held = True
            self.transport.pause_reading()
        self._advance()

    def pause_writing(self) -> None:
        """Hold back the service: the client does not keep up."""
        self._stuffed = True
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._stuffed = False
        if self._exchange is not None:
            self._exchange.resume()
        else:
            self._advance()

    # --- httptools; an exception raised in here breaks the connection off

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = Request(self._loop.time())
        self._head_bytes = self._headers = self._overhead = 0

    def on_url(self, url: bytes) -> None:
        """Take (a piece of) the target."""
        assert self._request is not None
        self._request.target += url
        self._bound_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header if it is one the gateway looks at."""
        request = self._request
        assert request is not None
        self._headers += 1
        self._bound_head(len(name) + len(value))
        known = WANTED.get(name) or WANTED.get(name.lower())
        if known is None or request.in_body:
            return
        value = value.strip(b" \t")  # the parser leaves what stands behind a value (RFC 9110, 5.5)
        if known in request.fields:
            if known in SINGLE:
                raise self._break(bad_request(f"the header {known.decode()} is given twice"))
            value = request.fields[known] + b", " + value
        request.fields[known] = value

    def on_headers_complete(self) -> None:
        """Check the head and put the request in the inbox."""
        request, parser = self._request, self._parser
        assert request is not None
        request.method = parser.get_method()
        version = parser.get_http_version()
        try:
            check_head(request.target, version, request.fields)
        except LeaderboardError as error:
            raise self._break(error) from error
        request.in_body = True
        request.is_chunked = version == "1.1"
        request.keep_alive = request.is_chunked and parser.should_keep_alive() and not parser.should_upgrade()
        if request.method in BODILESS and announces_body(request.fields):
            request.is_stray, request.keep_alive = True, False
        request.too_large = int(request.fields.get(b"content-length", b"0")) > MAX_BODY_BYTES
        self._inbox.append(request)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, up to the bound."""
        request = self._request
        assert request is not None
        self._overhead -= len(body)
        request.size += len(body)
        if request.size > MAX_BODY_BYTES:
            request.too_large = True
            self._let_go(request)
        elif not request.too_large:
            request.pieces.append(body)
            request.held += len(body)
            self._gateway.held += len(body)
            if self._gateway.held > self._gateway.settings.max_held_bytes:
                raise self._break(LeaderboardError("overloaded", "too many bodies are held; try again"))

    def _let_go(self, request: Request) -> None:
        self._gateway.held -= request.held
        request.held = 0
        request.pieces.clear()

    def _forget_all(self) -> None:
        for request in self._inbox:
            self._let_go(request)
        self._inbox.clear()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        assert self._request is not None
        self._request.complete = True
        self._request = None

    def _bound_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._headers > MAX_HEADERS:
            raise self._break(
                LeaderboardError("head_too_large", f"a head has at most {MAX_HEAD_BYTES} bytes")
            )

    def _break(self, error: LeaderboardError) -> LeaderboardError:
        self._broken = error
        return error

    # --- from request to answer

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._exchange is None and not self._closing and not self._stuffed:
                if not self._inbox:
                    self._rest()
                    return
                if not self._step(self._inbox[0]):
                    return
        finally:
            self._advancing = False

    def _step(self, request: Request) -> bool:
        """Take one request a step further; False: it has to wait for the client."""
        if not request.id:
            self._settle(request)
            try:
                reply = self._gateway.admit(request, self.peer)
            except LeaderboardError as error:
                if self._gateway.quota is not None:
                    self._gateway.quota.count(request)
                self.refuse(request, error)
                return True
            if reply is not None:
                self.write(self._gateway.answers.whole(request, reply.status, reply.headers, reply.body))
                self.finish(request, reply.status)
                return True
        if request.complete or request.too_large:
            self._settle(request)
            self.until = request.deadline
            if request.takes:
                self._exchange = self._gateway.asking(self, request)
                self._exchange.start()
            else:
                self.carry(request)
        elif self._deaf:
            self._forget_all()  # the rest of its body will never come: `_rest` says why
        else:
            self._await_body(request)
            return False
        return True

    def carry(self, request: Request) -> None:
        """Send a request on its way."""
        self._exchange = self._carrier(request)
        self._exchange.start()

    def _carrier(self, request: Request) -> Exchange | Listener:
        if is_shared(request):
            return self._gateway.streams.listener(self, request)
        if request.route is HOME:
            return HomeExchange(self._gateway, self, request)
        return Exchange(self._gateway, self, request)

    def _settle(self, request: Request) -> None:
        # What is left of a body would be read as the next request: answer, and close.
        if self._gateway.is_stopping or not request.complete:
            request.keep_alive = request.keep_alive and request.complete and not self._gateway.is_stopping

    def _await_body(self, request: Request) -> None:
        if request.fields.pop(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.until = request.started + self._gateway.settings.body_seconds

    def _rest(self) -> None:
        """Nothing is left to do: say what broke the connection, or wait for the next request."""
        settings = self._gateway.settings
        if self._broken is not None:
            self._say_broken(self._broken)
        elif self._deaf:
            self._close(linger=True)
        elif self._request is not None:
            self.until = self._request.started + settings.head_seconds
        else:
            self.until = self._loop.time() + settings.idle_seconds

    def _say_broken(self, error: LeaderboardError) -> None:
        request = Request(self._loop.time())
        self._gateway.identify(request)
        self.write(self._gateway.answers.problem(request, error))
        self._gateway.note(request, error.status, self.peer)
        self._close(linger=True)

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._gateway.outbox.flush()
        self.transport.write(data)

    def write_soon(self, data: bytes) -> None:
        """Send bytes to the client at the end of this turn of the loop, with what others get."""
        self._gateway.outbox.put(self.transport, data)

    def refuse(self, request: Request, error: LeaderboardError) -> None:
        """Answer with a problem."""
        self.write(self._gateway.answers.problem(request, error))
        self.finish(request, error.status)

    def finish(self, request: Request, status: int) -> None:
        """Note that a request is answered; go on with the next, or close."""
        self._gateway.note(request, status, self.peer)
        self._exchange = None
        self._inbox.popleft()
        if request.held:
            self._let_go(request)
        if not request.keep_alive:
            self._close(linger=not request.complete or bool(self._inbox) or self._deaf)
            return
        if self._held and len(self._inbox) <= 1:
            self._held = False
            self.transport.resume_reading()
        self._advance()

    def begin_stream(self) -> None:
        """Let the answer take its time, as long as something moves."""
        self._streaming = True
        self._head = None  # ten thousand readers of a stream ask for nothing else
        self.until = self._loop.time() + self._gateway.settings.stream_seconds

    def write_piece(self, request: Request, data: bytes) -> None:
        """Send a piece of an answer."""
        self.until = self._loop.time() + self._gateway.settings.stream_seconds
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if request.is_chunked else data)

    def end_stream(self, request: Request) -> None:
        """End an answer that came in pieces."""
        self._streaming = False
        if request.is_chunked:
            self.write(b"0\r\n\r\n")

    def _close(self, *, linger: bool) -> None:
        self._closing = self._deaf = True
        self._forget_all()
        self._gateway.outbox.flush()
        if not linger:
            self.transport.close()
            return
        # Closing with unread bytes makes the system reset the connection, and the answer may be
        # lost on its way. So: say that this is all, throw away what still comes, for a while.
        self.until = self._loop.time() + LINGER_SECONDS
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut the connection: a half answer must not look like a whole one."""
        if self._exchange is not None:
            self._exchange = None
            self._gateway.note(self._inbox[0], ABANDONED, self.peer)
        self.transport.abort()

    # --- time

    def expire(self) -> None:
        """Act on `until` having passed: whatever the client or the service does is taking too long."""
        late = LeaderboardError("request_timeout", "the request did not arrive in time")
        if self._closing or self._streaming or self._stuffed:
            self.transport.abort()
        elif self._exchange is not None:
            self._exchange.expire()
        elif self._inbox:
            self.refuse(self._inbox[0], late)
        elif self._request is not None:
            self._say_broken(late)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Finish what was asked, then close: uvicorn calls this when the process is to stop."""
        self._gateway.is_stopping = True
        self._gateway.outbox.flush()
        for request in self._inbox:
            request.keep_alive = False
        if not self._inbox and self._request is None:
            self.transport.close()
        elif self._streaming and self._inbox[0].route.is_stream:
            self._end_events(self._inbox[0])

    def _end_events(self, request: Request) -> None:
        """End a stream of events, which has no end of its own; an export goes on to its end."""
        assert self._exchange is not None
        self._exchange.cancel()
        self.end_stream(request)
        self.finish(request, 200)
